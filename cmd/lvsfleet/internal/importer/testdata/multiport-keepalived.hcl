# From the configuration of keepalived in there.
# What that does not say is assumed, and marked so: systems, devices, lengths of
# networks. Correct it, then see what `lvsfleet validate` and `lvsfleet diff` say.

role "director" {}
role "pool1" {}

host "director" {
  os      = "linux"
  roles   = ["director"]
  address = "192.168.0.254"
  interface "eth0" { address = "192.168.0.254/24" } # assumed: the device
  interface "eth1" { address = "2001:db8::254/64" } # assumed: the device
}

host "192.168.0.11" {
  os      = "linux" # assumed
  roles   = ["pool1"]
  address = "192.168.0.11"
  interface "eth0" { address = "192.168.0.11/24" } # assumed: device and length
}

host "192.168.0.12" {
  os      = "linux" # assumed
  roles   = ["pool1"]
  address = "192.168.0.12"
  interface "eth0" { address = "192.168.0.12/24" } # assumed: device and length
}

virtual_service "udp-192.168.0.100-5060" {
  director  = "director"
  pool      = "pool1"
  address   = "192.168.0.100"
  port      = 5060
  protocol  = "udp"
  scheduler = "rr"
  method    = "nat"
  weight    = 1
  real_server "192.168.0.11" { port = 1060 }
  real_server "192.168.0.11" { port = 2060 }
  real_server "192.168.0.12" { port = 1060 }
}
