# From the lvs.cf of piranha in there.
# What that does not say is assumed, and marked so: systems, devices, lengths of
# networks. Correct it, then see what `lvsfleet validate` and `lvsfleet diff` say.
# Note: http: a real server that is not active (active = 0) is left out
# Note: line 32: virtual old is not active (active = 0), and left out
# Note: lines 1-3, 5, 9, 13-14: pulse's and nanny's own settings are not imported: end pulse before lvsfleet converges: it writes the same table

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

virtual_service "http" {
  director            = "director"
  pool                = "pool1"
  address             = "192.168.0.200"
  port                = 80
  protocol            = "tcp"
  scheduler           = "wlc"
  method              = "dr"
  weight              = 2
  persistence_timeout = 300
  persistence_netmask = 24
  real_server "192.168.0.12" { weight = 1 }
}
