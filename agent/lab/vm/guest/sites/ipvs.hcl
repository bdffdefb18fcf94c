ssh {
  identity_file   = "/etc/lab/user_key"
  known_hosts     = "/etc/lab/known_hosts"
  connect_timeout = 60
}

variable "agent" {
  type    = bool
  default = true
}

role "director" {}
role "four" {}
role "six" {}

host "lb" {
  os      = "linux"
  roles   = ["director"]
  address = "10.99.0.254"
  agent   = var.agent
  interface "eth0" { addresses = ["10.1.0.254/16", "fd00:1::fe/64"] }
}

# The real servers are in the inventory alone.
host "r1" {
  os      = "linux"
  roles   = ["four", "six"]
  address = "10.99.0.1"
  interface "eth0" { addresses = ["10.1.0.1/16", "fd00:1::1/64"] }
}

host "r2" {
  os      = "linux"
  roles   = ["four", "six"]
  address = "10.99.0.2"
  interface "eth0" { addresses = ["10.1.0.2/16", "fd00:1::2/64"] }
}

virtual_service "scheduler-rr" {
  director  = "director"
  pool      = "four"
  address   = "10.2.0.1"
  port      = 1000
  protocol  = "tcp"
  vip       = "foreign"
  scheduler = "rr"
  method    = "nat"
}

virtual_service "scheduler-wrr" {
  director  = "director"
  pool      = "four"
  address   = "10.2.0.1"
  port      = 1001
  protocol  = "tcp"
  vip       = "foreign"
  scheduler = "wrr"
  method    = "nat"
}

virtual_service "scheduler-lc" {
  director  = "director"
  pool      = "four"
  address   = "10.2.0.1"
  port      = 1002
  protocol  = "tcp"
  vip       = "foreign"
  scheduler = "lc"
  method    = "nat"
}

virtual_service "scheduler-wlc" {
  director  = "director"
  pool      = "four"
  address   = "10.2.0.1"
  port      = 1003
  protocol  = "tcp"
  vip       = "foreign"
  scheduler = "wlc"
  method    = "nat"
}

virtual_service "scheduler-lblc" {
  director  = "director"
  pool      = "four"
  address   = "10.2.0.1"
  port      = 1004
  protocol  = "tcp"
  vip       = "foreign"
  scheduler = "lblc"
  method    = "nat"
}

virtual_service "scheduler-lblcr" {
  director  = "director"
  pool      = "four"
  address   = "10.2.0.1"
  port      = 1005
  protocol  = "tcp"
  vip       = "foreign"
  scheduler = "lblcr"
  method    = "nat"
}

virtual_service "scheduler-dh" {
  director  = "director"
  pool      = "four"
  address   = "10.2.0.1"
  port      = 1006
  protocol  = "tcp"
  vip       = "foreign"
  scheduler = "dh"
  method    = "nat"
}

virtual_service "scheduler-sh" {
  director  = "director"
  pool      = "four"
  address   = "10.2.0.1"
  port      = 1007
  protocol  = "tcp"
  vip       = "foreign"
  scheduler = "sh"
  method    = "nat"
}

virtual_service "scheduler-sed" {
  director  = "director"
  pool      = "four"
  address   = "10.2.0.1"
  port      = 1008
  protocol  = "tcp"
  vip       = "foreign"
  scheduler = "sed"
  method    = "nat"
}

virtual_service "scheduler-nq" {
  director  = "director"
  pool      = "four"
  address   = "10.2.0.1"
  port      = 1009
  protocol  = "tcp"
  vip       = "foreign"
  scheduler = "nq"
  method    = "nat"
}

virtual_service "scheduler-fo" {
  director  = "director"
  pool      = "four"
  address   = "10.2.0.1"
  port      = 1010
  protocol  = "tcp"
  vip       = "foreign"
  scheduler = "fo"
  method    = "nat"
}

virtual_service "scheduler-ovf" {
  director  = "director"
  pool      = "four"
  address   = "10.2.0.1"
  port      = 1011
  protocol  = "tcp"
  vip       = "foreign"
  scheduler = "ovf"
  method    = "nat"
}

virtual_service "scheduler-mh" {
  director  = "director"
  pool      = "four"
  address   = "10.2.0.1"
  port      = 1012
  protocol  = "tcp"
  vip       = "foreign"
  scheduler = "mh"
  method    = "nat"
}

virtual_service "sh-flags" {
  director  = "director"
  pool      = "four"
  address   = "10.2.0.1"
  port      = 1100
  protocol  = "tcp"
  vip       = "foreign"
  scheduler = "sh"
  method    = "nat"
  scheduler_flags = ["sh-fallback", "sh-port"]
}

virtual_service "mh-flags" {
  director  = "director"
  pool      = "four"
  address   = "10.2.0.1"
  port      = 1101
  protocol  = "tcp"
  vip       = "foreign"
  scheduler = "mh"
  method    = "nat"
  scheduler_flags = ["mh-fallback", "mh-port"]
}

virtual_service "sh-port" {
  director  = "director"
  pool      = "four"
  address   = "10.2.0.1"
  port      = 1102
  protocol  = "tcp"
  vip       = "foreign"
  scheduler = "sh"
  method    = "nat"
  scheduler_flags = ["sh-port"]
}

virtual_service "thresholds" {
  director  = "director"
  pool      = "four"
  address   = "10.2.0.1"
  port      = 2000
  protocol  = "tcp"
  vip       = "foreign"
  scheduler = "rr"
  method    = "nat"
  real_server "r1" {
    upper_threshold = 100
    lower_threshold = 50
  }
  real_server "r2" { upper_threshold = 70000 }
}

virtual_service "persistent" {
  director  = "director"
  pool      = "four"
  address   = "10.2.0.1"
  port      = 2001
  protocol  = "tcp"
  vip       = "foreign"
  scheduler = "rr"
  method    = "nat"
  persistence_timeout = 300
  persistence_netmask = "255.255.255.0"
}

virtual_service "persistent-host" {
  director  = "director"
  pool      = "four"
  address   = "10.2.0.1"
  port      = 2002
  protocol  = "tcp"
  vip       = "foreign"
  scheduler = "rr"
  method    = "nat"
  persistence_timeout = 60
}

virtual_service "one-packet" {
  director  = "director"
  pool      = "four"
  address   = "10.2.0.1"
  port      = 53
  protocol  = "udp"
  vip       = "foreign"
  scheduler = "rr"
  method    = "nat"
  one_packet = true
}

virtual_service "udp" {
  director  = "director"
  pool      = "four"
  address   = "10.2.0.1"
  port      = 123
  protocol  = "udp"
  vip       = "foreign"
  scheduler = "sh"
  method    = "nat"
}

virtual_service "sctp" {
  director  = "director"
  pool      = "four"
  address   = "10.2.0.1"
  port      = 3868
  protocol  = "sctp"
  vip       = "foreign"
  scheduler = "wlc"
  method    = "nat"
}

virtual_service "mark" {
  director  = "director"
  pool      = "four"
  fwmark    = 7
  scheduler = "wlc"
  method    = "nat"
}

virtual_service "mark-large" {
  director  = "director"
  pool      = "four"
  fwmark    = 4294967295
  scheduler = "rr"
  method    = "nat"
}

virtual_service "mark-six" {
  director  = "director"
  pool      = "six"
  fwmark    = 8
  family    = "ipv6"
  scheduler = "rr"
  method    = "nat"
}

virtual_service "direct" {
  director  = "director"
  pool      = "four"
  address   = "10.2.0.2"
  port      = 80
  protocol  = "tcp"
  vip       = "foreign"
  scheduler = "wrr"
  method    = "dr"
}

virtual_service "tunnel" {
  director  = "director"
  pool      = "four"
  address   = "10.2.0.3"
  port      = 80
  protocol  = "tcp"
  vip       = "foreign"
  scheduler = "wrr"
  method    = "tun"
}

virtual_service "six" {
  director  = "director"
  pool      = "six"
  address   = "fd00:2::1"
  port      = 80
  protocol  = "tcp"
  vip       = "foreign"
  scheduler = "wrr"
  method    = "nat"
}

virtual_service "six-direct" {
  director  = "director"
  pool      = "six"
  address   = "fd00:2::2"
  port      = 80
  protocol  = "tcp"
  vip       = "foreign"
  scheduler = "mh"
  method    = "dr"
}

virtual_service "six-persistent" {
  director  = "director"
  pool      = "six"
  address   = "fd00:2::1"
  port      = 443
  protocol  = "tcp"
  vip       = "foreign"
  scheduler = "wlc"
  method    = "nat"
  persistence_timeout = 90
  persistence_netmask = 64
}

virtual_service "six-udp" {
  director  = "director"
  pool      = "six"
  address   = "fd00:2::1"
  port      = 53
  protocol  = "udp"
  vip       = "foreign"
  scheduler = "rr"
  method    = "nat"
  one_packet = true
}
