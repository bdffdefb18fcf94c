# From the rules of ipvsadm in there.
# What that does not say is assumed, and marked so: systems, devices, lengths of
# networks. Correct it, then see what `lvsfleet validate` and `lvsfleet diff` say.
# Note: line 5: --set 900 120 300 is left out: an inventory has no timeouts of IPVS
# Note: line 6: --start-daemon master --mcast-interface eth0 is left out: an inventory has no sync daemon

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

virtual_service "tcp-192.168.0.200" {
  director            = "director"
  pool                = "pool1"
  address             = "192.168.0.200"
  port                = 0
  protocol            = "tcp"
  scheduler           = "rr"
  method              = "dr"
  weight              = 1
  persistence_timeout = 60
}

virtual_service "tcp-192.168.0.200-21" {
  director            = "director"
  pool                = "pool1"
  address             = "192.168.0.200"
  port                = 21
  protocol            = "tcp"
  scheduler           = "rr"
  method              = "dr"
  weight              = 100
  persistence_timeout = 60
  persistence_netmask = 24
}
