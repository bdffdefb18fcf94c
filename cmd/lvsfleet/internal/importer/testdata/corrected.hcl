# From the configuration of keepalived in there.
# What that does not say is assumed, and marked so: systems, devices, lengths of
# networks. Correct it, then see what `lvsfleet validate` and `lvsfleet diff` say.
# Note: line 32: @lb1 virtual_server 192.168.0.200 98 { is for one of several nodes, and left out: import again with --node lb1
# Note: line 33: @lb1 } is for one of several nodes, and left out: import again with --node lb1
# Note: line 38: @lb1 real_server 192.168.0.11 80 { is for one of several nodes, and left out: import again with --node lb1
# Note: line 39: @lb1  weight 5 is for one of several nodes, and left out: import again with --node lb1
# Note: line 40: @lb1 } is for one of several nodes, and left out: import again with --node lb1
# Note: line 41: @^lb1 real_server 192.168.0.12 80 { is for one of several nodes, and left out: import again with --node lb1
# Note: line 42: @^lb1 } is for one of several nodes, and left out: import again with --node lb1
# Note: line 45: include /etc/keepalived/servers.d/fe02.conf is not followed: import that file too
# Note: line 8: virtual_server group web says no protocol: keepalived makes it UDP
# Note: line 8: the port 8080 of 192.168.0.11 is that of the service, 80: with DR no packet is rewritten
# Note: line 14: ops is for UDP: keepalived takes it off, and so it is left out
# Note: line 14: every port goes with persistence only: keepalived sets 360 seconds
# Note: line 25: no_such_word 3 is not understood, and left out
# Note: line 21: virtual_server 192.168.0.200 53 says no protocol: keepalived makes it UDP
# Note: line 29: virtual_server 192.168.0.200 99 has no real server: keepalived ignores it, and so it is left out

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
  roles   = ["pool1"]
  address = "192.168.0.11"
  interface "eth0" { address = "192.168.0.11/24" } # assumed: device and length
}

host "192.168.0.12" {
  os      = "linux" # assumed
  roles   = ["pool2"]
  address = "192.168.0.12"
  interface "eth0" { address = "192.168.0.12/24" } # assumed: device and length
}

host "192.168.0.13" {
  os      = "linux" # assumed
  roles   = ["pool3"]
  address = "192.168.0.13"
  interface "eth0" { address = "192.168.0.13/24" } # assumed: device and length
}

virtual_service "web" {
  director  = "director"
  pool      = "pool1"
  address   = "192.168.0.210"
  port      = 80
  protocol  = "udp"
  scheduler = "rr"
  method    = "dr"
  weight    = 1
}

virtual_service "web-2" {
  director  = "director"
  pool      = "pool1"
  address   = "192.168.0.211"
  port      = 80
  protocol  = "udp"
  scheduler = "rr"
  method    = "dr"
  weight    = 1
}

virtual_service "web-3" {
  director  = "director"
  pool      = "pool1"
  address   = "192.168.0.212"
  port      = 80
  protocol  = "udp"
  scheduler = "rr"
  method    = "dr"
  weight    = 1
}

virtual_service "web-4" {
  director  = "director"
  pool      = "pool1"
  fwmark    = 3
  scheduler = "rr"
  method    = "dr"
  weight    = 1
}

virtual_service "tcp-192.168.0.200" {
  director            = "director"
  pool                = "pool1"
  address             = "192.168.0.200"
  port                = 0
  protocol            = "tcp"
  scheduler           = "wlc"
  method              = "dr"
  weight              = 1
  persistence_timeout = 360
}

virtual_service "udp-192.168.0.200-53" {
  director            = "director"
  pool                = "pool2"
  address             = "192.168.0.200"
  port                = 53
  protocol            = "udp"
  scheduler           = "wrr"
  method              = "dr"
  weight              = 1
  persistence_timeout = 360
  persistence_netmask = 24
}

virtual_service "tcp-192.168.0.200-80" {
  director  = "director"
  pool      = "pool3"
  address   = "192.168.0.200"
  port      = 80
  protocol  = "tcp"
  scheduler = "rr"
  method    = "dr"
  weight    = 1
}
