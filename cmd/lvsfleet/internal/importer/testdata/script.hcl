# From the shell script of ipvsadm commands in there.
# What that does not say is assumed, and marked so: systems, devices, lengths of
# networks. Correct it, then see what `lvsfleet validate` and `lvsfleet diff` say.
# Note: line 19: the output of a command is not known: the variable HOST has no value here
# Note: line 20: the variable HOST has no value in this file: the command is not imported
# Note: line 6: . /etc/rc.d/init.d/functions is not a command of ipvsadm, and not imported
# Note: line 11: ifconfig eth0:0 192.168.0.200 netmask 255.255.255.255 up is not a command of ipvsadm, and not imported

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

virtual_service "tcp-192.168.0.200" {
  director            = "director"
  pool                = "pool1"
  address             = "192.168.0.200"
  ports               = [80, 443]
  protocol            = "tcp"
  scheduler           = "wrr"
  method              = "dr"
  weight              = 2
  persistence_timeout = 300
}

virtual_service "udp-192.168.0.200-53" {
  director  = "director"
  pool      = "pool2"
  address   = "192.168.0.200"
  port      = 53
  protocol  = "udp"
  scheduler = "rr"
  method    = "dr"
  weight    = 1
}
