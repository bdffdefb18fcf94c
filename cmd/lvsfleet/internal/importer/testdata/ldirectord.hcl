# From the configuration of ldirectord in there.
# What that does not say is assumed, and marked so: systems, devices, lengths of
# networks. Correct it, then see what `lvsfleet validate` and `lvsfleet diff` say.
# Note: line 8: fallback=127.0.0.1:80 gate is left out: an inventory has no sorry server
# Note: lines 2-4, 9-11, 15, 19, 23: ldirectord's health checks are not imported: ldirectord goes on with them, and owns weights and members

role "director" {}
role "pool1" {}
role "pool2" {}
role "pool3" {}

host "director" {
  os      = "linux"
  roles   = ["director"]
  address = "192.168.0.254"
  interface "eth0" { address = "192.168.0.254/24" } # assumed: the device
  interface "eth1" { address = "2001:db8::254/64" } # assumed: the device
}

host "192.168.0.11" {
  os      = "linux" # assumed
  roles   = ["pool1", "pool2"]
  address = "192.168.0.11"
  interface "eth0" { address = "192.168.0.11/24" } # assumed: device and length
}

host "192.168.0.12" {
  os      = "linux" # assumed
  roles   = ["pool1"]
  address = "192.168.0.12"
  interface "eth0" { address = "192.168.0.12/24" } # assumed: device and length
}

host "192.168.0.13" {
  os      = "linux" # assumed
  roles   = ["pool1"]
  address = "192.168.0.13"
  interface "eth0" { address = "192.168.0.13/24" } # assumed: device and length
}

host "192.168.0.14" {
  os      = "linux" # assumed
  roles   = ["pool3"]
  address = "192.168.0.14"
  interface "eth0" { address = "192.168.0.14/24" } # assumed: device and length
}

virtual_service "tcp-192.168.0.200-80" {
  director            = "director"
  pool                = "pool1"
  address             = "192.168.0.200"
  port                = 80
  protocol            = "tcp"
  scheduler           = "wlc"
  method              = "dr"
  weight              = 1
  persistence_timeout = 600
  weights             = "foreign" # a health checker's: so are the members
  real_server "192.168.0.11" { weight = 10 }
}

virtual_service "udp-192.168.0.254-53" {
  director  = "director"
  pool      = "pool2"
  address   = "192.168.0.254"
  port      = 53
  protocol  = "udp"
  scheduler = "wrr"
  method    = "nat"
  weight    = 1
  real_server "192.168.0.11" { port = 5353 }
}

virtual_service "mark-5" {
  director  = "director"
  pool      = "pool3"
  fwmark    = 5
  scheduler = "wrr"
  method    = "tun"
  weight    = 2
  weights   = "foreign" # a health checker's: so are the members
}
