# Marks with and without a VIP, persistence, one VIP in several services, a
# plain tunnel, and a host in no service.
role "director" { gateway = "192.168.0.251" }
role "web" {}
role "db" {}
host "lb" {
  os      = "linux"
  roles   = ["director"]
  address = "192.168.0.254"
  interface "eth0" { address = "192.168.0.254/24" }
  interface "eth1" { addresses = ["10.0.0.254/24", "2001:db8::254/64"] }
}
host "rs1" {
  os      = "linux"
  roles   = ["web", "db"]
  address = "192.168.0.1"
  network = "none"
  interface "eth0" { address = "192.168.0.1/24" }
  interface "eth1" { address = "10.0.0.1/24" }
}
host "rs2" {
  os      = "solaris"
  release = "5.11"
  roles   = ["web"]
  address = "192.168.0.2"
  interface "net0" { address = "192.168.0.2/24" }
}
host "rs3" {
  os      = "linux"
  address = "192.168.0.3"
  interface "eth0" { address = "192.168.0.3/24" }
}
host "other" {
  os      = "freebsd"
  address = "172.20.0.1"
  interface "em0" { address = "172.20.0.1/24" }
}
virtual_service "ftp" {
  director            = "director"
  pool                = "web"
  fwmark              = 7
  address             = "192.168.0.200"
  method              = "dr"
  persistence_timeout = 600
  persistence_netmask = 24
}
virtual_service "http" {
  director = "director"
  pool     = "web"
  address  = "192.168.0.200"
  port     = 80
  method   = "dr"
  real_server "rs2" { weight = 3 }
  real_server "rs3" { weight = 0 }
  real_server "lb" { address = "10.0.0.254" }
}
virtual_service "mark6" {
  director = "director"
  pool     = "db6"
  fwmark   = 8
  family   = "ipv6"
  method   = "dr"
}
role "db6" {}
host "db6" {
  os      = "linux"
  roles   = ["db6"]
  address = "2001:db8::6"
  interface "eth0" { address = "2001:db8::6/64" }
}
virtual_service "sql" {
  director   = "director"
  pool       = "db"
  address    = "203.0.113.5"
  port       = 53
  protocol   = "udp"
  one_packet = true
  interface  = "eth1"
  method     = "dr"
  real_server "rs1" { address = "10.0.0.1" }
}
tunnel "plain" {
  end "other" { inside = "172.16.0.1" }
  end "rs2" {
    inside    = "172.16.0.2"
    outside   = "192.168.0.2"
    interface = "ip.tun5"
  }
}
