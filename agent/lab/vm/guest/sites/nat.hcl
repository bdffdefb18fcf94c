ssh {
  identity_file   = "/etc/lab/user_key"
  known_hosts     = "/etc/lab/known_hosts"
  connect_timeout = 60 # a machine without hardware help, beside others
}

rollout {
  drain = 3 # what still hangs after it hangs by a mistake, and never ends
}

variable "rs180" {
  type    = list(string)
  default = ["web"]
}

role "director" {}
role "web" {}

host "lb" {
  os      = "linux"
  roles   = ["director"]
  address = "10.99.0.254"
  interface "eth0" { address = "192.168.10.254/24" }
  interface "eth1" { address = "192.168.0.254/24" }
}

host "rs160" {
  os      = "linux"
  roles   = ["web"]
  address = "10.99.0.160"
  interface "eth0" { address = "192.168.0.160/24" }
}

host "rs170" {
  os      = "freebsd"
  release = "5.4-RELEASE"
  roles   = ["web"]
  address = "10.99.0.170"
  interface "lnc0" { address = "192.168.0.170/24" }
}

host "rs180" {
  os      = "solaris"
  release = "5.10"
  roles   = var.rs180
  address = "10.99.0.180"
  interface "pcn0" { address = "192.168.0.180/24" }
}

virtual_service "http" {
  director  = "director"
  pool      = "web"
  address   = "192.168.10.254"
  port      = 80
  scheduler = "wrr"
  method    = "nat"
  real_server "lb" { address = "192.168.0.254" }
  real_server "rs160" { weight = 2 }
}
