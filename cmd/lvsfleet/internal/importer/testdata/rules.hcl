# From the rules of ipvsadm in there.
# What that does not say is assumed, and marked so: systems, devices, lengths of
# networks. Correct it, then see what `lvsfleet validate` and `lvsfleet diff` say.

role "director" {}
role "pool1" {}
role "pool2" {}

host "director" {
  os      = "linux"
  roles   = ["director"]
  address = "192.168.0.254"
  interface "eth0" { address = "192.168.0.254/24" } # assumed: the device
  interface "eth1" { address = "2001:db8::254/64" } # assumed: the device
}

host "192.168.0.160" {
  os      = "linux" # assumed
  roles   = ["pool1", "pool2"]
  address = "192.168.0.160"
  interface "eth0" { address = "192.168.0.160/24" } # assumed: device and length
}

host "192.168.0.170" {
  os      = "freebsd"
  roles   = ["pool1"]
  address = "192.168.0.170"
  interface "em0" { address = "192.168.0.170/24" } # assumed: device and length
}

virtual_service "tcp-192.168.0.200" {
  director            = "director"
  pool                = "pool1"
  address             = "192.168.0.200"
  ports               = [80, 443]
  protocol            = "tcp"
  scheduler           = "wlc"
  method              = "dr"
  weight              = 1
  persistence_timeout = 300
  persistence_netmask = 24
  real_server "192.168.0.170" { weight = 3 }
}

virtual_service "mark-7" {
  director        = "director"
  pool            = "pool2"
  fwmark          = 7
  scheduler       = "mh"
  scheduler_flags = ["mh-port"]
  method          = "tun"
  weight          = 1
}

virtual_service "udp-192.168.0.254-53" {
  director   = "director"
  pool       = "pool2"
  address    = "192.168.0.254"
  port       = 53
  protocol   = "udp"
  scheduler  = "rr"
  method     = "nat"
  weight     = 1
  one_packet = true
  real_server "192.168.0.160" { port = 5353 }
  real_server "director" {}
}
