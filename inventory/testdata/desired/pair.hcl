# Two directors that share a VIP under keepalived; TUN to FreeBSD by two
# tunnels, NAT behind a gateway that moves.
role "director" {}
role "far" {}
role "inside" { gateway = "192.168.0.253" }
host "lb1" {
  os      = "linux"
  roles   = ["director"]
  address = "192.168.0.1"
  interface "eth0" { address = "192.168.0.1/24" }
}
host "lb2" {
  os            = "linux"
  roles         = ["director"]
  address       = "192.168.0.2"
  tunnel_source = "192.168.0.22"
  interface "eth0" { address = "192.168.0.2/24" }
}
host "rs1" {
  os      = "freebsd"
  roles   = ["far"]
  address = "192.168.9.1"
  interface "em0" { address = "192.168.9.1/24" }
}
host "rs2" {
  os      = "linux"
  roles   = ["inside"]
  address = "192.168.0.160"
  interface "eth0" { address = "192.168.0.160/24" }
}
virtual_service "far" {
  director = "director"
  pool     = "far"
  address  = "192.168.0.200"
  ports    = [443, 80]
  method   = "tun"
  vip      = "foreign"
  weights  = "foreign"
}
virtual_service "inside" {
  director = "director"
  pool     = "inside"
  address  = "192.168.0.201"
  port     = 80
  method   = "nat"
  vip      = "foreign"
  real_server "rs2" {
    port            = 8080
    weight          = 5
    upper_threshold = 100
    lower_threshold = 50
  }
}
