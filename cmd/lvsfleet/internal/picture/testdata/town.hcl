# Two directors, three sorts of service, 110 real servers, one of them for all.
role "director" {}
role "web" {}
role "dns" {}
role "static" {}

locals {
  webs = { for i in range(1, 61) : format("web-%03d", i) => i }
  bsds = { for i in range(1, 41) : format("static-%02d", i) => i }
}

host "lb1" {
  os      = "linux"
  roles   = ["director"]
  address = "10.1.0.1"
  gateway = "10.1.255.254"
  interface "eth0" { address = "10.1.0.1/16" }
}
host "lb2" {
  os      = "linux"
  roles   = ["director"]
  address = "10.1.0.2"
  gateway = "10.1.255.254"
  interface "eth0" { address = "10.1.0.2/16" }
}
host "${each.key}" {
  for_each = local.webs
  os       = "linux"
  roles    = ["web"]
  address  = cidrhost("10.1.1.0/24", each.value)
  interface "eth0" { address = "${cidrhost("10.1.1.0/24", each.value)}/16" }
}
host "${each.key}" {
  for_each = local.bsds
  os       = "freebsd"
  roles    = ["static", "dns"]
  address  = cidrhost("10.1.2.0/24", each.value)
  interface "em0" { address = "${cidrhost("10.1.2.0/24", each.value)}/16" }
}
host "old" {
  os      = "freebsd"
  roles   = ["static"]
  address = "10.1.3.1"
  interface "lnc0" { address = "10.1.3.1/16" }
}
host "console" {
  os      = "linux"
  address = "10.1.4.1"
  interface "eth0" { address = "10.1.4.1/16" }
}

virtual_service "web" {
  director  = "director"
  pool      = "web"
  address   = "10.1.9.1"
  ports     = [80, 443]
  method    = "dr"
  vip       = "foreign"
  weight    = 100
  client_networks = ["192.0.2.0/24", "198.51.100.0/24"]
  persistence_timeout = 300
  real_server "web-001" { weight = 1 }
  real_server "web-002" { weight = 0 }
}
virtual_service "admin" {
  director = "director"
  pool     = "web"
  address  = "10.1.9.1"
  port     = 8443
  method   = "dr"
  vip      = "foreign"
}
virtual_service "dns" {
  director  = "director"
  pool      = "dns"
  address   = "10.1.9.2"
  port      = 53
  protocol  = "udp"
  scheduler = "sh"
  method    = "tun"
  vip       = "foreign"
  one_packet = true
}
virtual_service "static" {
  director = "director"
  pool     = "static"
  address  = "10.1.9.3"
  port     = 80
  method   = "dr"
  vip      = "foreign"
  weights  = "foreign"
}
tunnel "backhaul" {
  end "console" { inside = "172.16.0.1" }
  end "old" { inside = "172.16.0.2" }
}
