# One service in both families, NAT in IPv6 on one arm.
role "director" {}
role "web" {}
host "lb" {
  os      = "linux"
  roles   = ["director"]
  address = "192.168.0.254"
  interface "eth0" { addresses = ["192.168.0.254/24", "2001:db8::254/64"] }
}
host "rs1" {
  os         = "freebsd"
  roles      = ["web"]
  address    = "192.168.0.1"
  ip_forward = false
  interface "em0" { addresses = ["192.168.0.1/24", "2001:db8::1/64"] }
}
virtual_service "v4" {
  director = "director"
  pool     = "web"
  address  = "192.168.0.200"
  port     = 80
  method   = "dr"
}
virtual_service "v6" {
  director  = "director"
  pool      = "web"
  address   = "2001:db8::200"
  port      = 80
  scheduler = "sh"
  scheduler_flags = ["sh-port", "sh-fallback"]
  method    = "nat"
}
virtual_service "v6tun" {
  director = "director"
  pool     = "web"
  address  = "2001:db8::201"
  port     = 80
  method   = "tun"
}
