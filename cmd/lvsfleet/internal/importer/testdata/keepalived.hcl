# From the configuration of keepalived in there.
# What that does not say is assumed, and marked so: systems, devices, lengths of
# networks. Correct it, then see what `lvsfleet validate` and `lvsfleet diff` say.
# Note: line 68: include /etc/keepalived/conf.d/*.conf is not followed: import that file too
# Note: line 31: sorry_server 192.168.0.9 443 is left out: an inventory has none
# Note: line 51: virtual_server group mail says no protocol: keepalived makes it UDP
# Note: line 62: type gue port 6080 is left out: an inventory has plain IP-in-IP tunnels
# Note: lines 25, 35: health checks are not imported: keepalived goes on with them, and owns weights and members

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

host "192.168.0.160" {
  os      = "linux" # assumed
  roles   = ["pool1"]
  address = "192.168.0.160"
  interface "eth0" { address = "192.168.0.160/24" } # assumed: device and length
}

host "192.168.0.170" {
  os      = "freebsd"
  roles   = ["pool1"]
  address = "192.168.0.170"
  interface "em0" { address = "192.168.0.170/24" } # assumed: device and length
}

host "192.168.0.180" {
  os      = "solaris"
  roles   = ["pool2"]
  address = "192.168.0.180"
  interface "net0" { address = "192.168.0.180/24" } # assumed: device and length
}

host "192.168.0.181" {
  os      = "linux" # assumed
  roles   = ["pool2"]
  address = "192.168.0.181"
  interface "eth0" { address = "192.168.0.181/24" } # assumed: device and length
}

host "v6-2001-db8--17" {
  os      = "freebsd"
  roles   = ["pool3"]
  address = "2001:db8::17"
  interface "em0" { address = "2001:db8::17/64" } # assumed: device and length
}

virtual_service "tcp-192.168.0.200-443" {
  director            = "director"
  pool                = "pool1"
  address             = "192.168.0.200"
  port                = 443
  protocol            = "tcp"
  scheduler           = "wrr"
  method              = "dr"
  weight              = 2
  persistence_timeout = 50
  persistence_netmask = 24
  vip                 = "foreign" # keepalived's VRRP has it
  weights             = "foreign" # a health checker's: so are the members
  real_server "192.168.0.170" {
    weight          = 1
    upper_threshold = 1000
    lower_threshold = 800
  }
}

virtual_service "mail" {
  director        = "director"
  pool            = "pool2"
  address         = "192.168.0.201"
  ports           = [25, 587]
  protocol        = "udp"
  scheduler       = "sh"
  scheduler_flags = ["sh-port"]
  method          = "nat"
  weight          = 1
  vip             = "foreign" # keepalived's VRRP has it
  real_server "192.168.0.181" { weight = 0 }
}

virtual_service "mail-2" {
  director        = "director"
  pool            = "pool2"
  fwmark          = 7
  scheduler       = "sh"
  scheduler_flags = ["sh-port"]
  method          = "nat"
  weight          = 1
  real_server "192.168.0.181" { weight = 0 }
}

virtual_service "mark-9" {
  director   = "director"
  pool       = "pool3"
  fwmark     = 9
  family     = "ipv6"
  scheduler  = "mh"
  method     = "tun"
  weight     = 1
  one_packet = true
}
