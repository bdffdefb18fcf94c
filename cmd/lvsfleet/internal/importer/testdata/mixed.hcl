# From the rules of ipvsadm in there.
# What that does not say is assumed, and marked so: systems, devices, lengths of
# networks. Correct it, then see what `lvsfleet validate` and `lvsfleet diff` say.
# Note: TCP 192.168.0.200:80: the real server 127.0.0.1:80 is left out: it is the director itself: add real_server "director" {} if it shall serve
# Note: TCP 192.168.0.200:80: the weight 65536 of 192.168.0.160:8080 is made 65535
# Note: TCP 192.168.0.200:80: the tunnel type gre of 192.168.0.161:80 is left out: an inventory has plain IP-in-IP tunnels
# Note: TCP 192.168.0.202:80 is left out: it has no real server

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
  roles   = ["pool1"]
  address = "192.168.0.160"
  interface "eth0" { address = "192.168.0.160/24" } # assumed: device and length
}

host "192.168.0.161" {
  os      = "linux" # assumed
  roles   = ["pool1"]
  address = "192.168.0.161"
  interface "eth0" { address = "192.168.0.161/24" } # assumed: device and length
}

host "v6-2001-db8--160" {
  os      = "linux" # assumed
  roles   = ["pool2"]
  address = "2001:db8::160"
  interface "eth0" { address = "2001:db8::160/64" } # assumed: device and length
}

virtual_service "tcp-192.168.0.254-25" {
  director  = "director"
  pool      = "director"
  address   = "192.168.0.254"
  port      = 25
  protocol  = "tcp"
  scheduler = "rr"
  method    = "nat"
  weight    = 1
  real_server "director" {}
}

virtual_service "tcp-192.168.0.200-80" {
  director            = "director"
  pool                = "pool1"
  address             = "192.168.0.200"
  port                = 80
  protocol            = "tcp"
  scheduler           = "fo"
  method              = "nat"
  weight              = 65535
  persistence_timeout = 1800
  # persistence_netmask: 0xff00ff00 is none that an inventory can say
  # persistence engine sip: an inventory has none
  real_server "192.168.0.160" { port = 8080 }
  real_server "192.168.0.160" {
    weight = 1
    port   = 8081
  }
  real_server "192.168.0.161" {
    weight = 7
    method = "tun"
  }
}

virtual_service "tcp-v6-2001-db8--200-80" {
  director  = "director"
  pool      = "pool2"
  address   = "2001:db8::200"
  port      = 80
  protocol  = "tcp"
  scheduler = "wlc"
  method    = "dr"
  weight    = 1
}
