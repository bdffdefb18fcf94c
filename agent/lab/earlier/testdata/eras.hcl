# One host of each era, and directors of each way to load IPVS rules at boot.
role "director" {}
role "web" { gateway = "192.168.0.252" }

host "lb6" {
  os      = "linux"
  release = "2.6.32-754.el6"
  roles   = ["director"]
  address = "192.168.0.254"
  interface "eth0" { address = "192.168.0.254/24" }
}
host "lb7" {
  os      = "linux"
  release = "3.10.0-1160.el7"
  roles   = ["director"]
  address = "192.168.0.253"
  interface "eth0" { address = "192.168.0.253/24" }
}
host "lbnone" {
  os      = "linux"
  release = "6.1.0"
  network = "none"
  roles   = ["director"]
  address = "192.168.0.251"
  interface "eth0" { address = "192.168.0.251/24" }
}
host "el6" {
  os      = "linux"
  release = "2.6.32-754.el6"
  roles   = ["web"]
  address = "192.168.0.160"
  interface "eth0" { address = "192.168.0.160/24" }
}
host "el7" {
  os      = "linux"
  release = "3.10.0-1160.el7"
  roles   = ["web"]
  address = "192.168.0.161"
  interface "eth0" { address = "192.168.0.161/24" }
}
host "none" {
  os      = "linux"
  release = "6.1.0"
  network = "none"
  roles   = ["web"]
  address = "192.168.0.162"
  interface "eth0" { address = "192.168.0.162/24" }
}
host "bsd13" {
  os      = "freebsd"
  release = "13.2-RELEASE"
  roles   = ["web"]
  address = "192.168.0.170"
  interface "em0" { address = "192.168.0.170/24" }
}
host "omni" {
  os      = "solaris"
  release = "5.11"
  roles   = ["web"]
  address = "192.168.0.180"
  interface "net0" { address = "192.168.0.180/24" }
}
virtual_service "http" {
  director  = "director"
  pool      = "web"
  address   = "192.168.0.200"
  port      = 80
  protocol  = "tcp"
  scheduler = "wlc"
  method    = "dr"
  vip       = "foreign"
}
