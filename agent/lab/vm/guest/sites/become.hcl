ssh {
  user            = "ops"
  identity_file   = "/etc/lab/user_key"
  known_hosts     = "/etc/lab/known_hosts"
  connect_timeout = 60 # a machine without hardware help, beside others
}

role "director" {
  gateway = "192.168.0.251"
}

role "web" {
  gateway = "192.168.0.252"
}

host "lb" {
  os      = "linux"
  become  = "sudo"
  roles   = ["director"]
  address = "10.99.0.254"
  interface "eth0" { address = "192.168.0.254/24" }
}

host "rs160" {
  os      = "linux"
  become  = "sudo"
  roles   = ["web"]
  address = "10.99.0.160"
  interface "eth0" { address = "192.168.0.160/24" }
}

virtual_service "http" {
  director  = "director"
  pool      = "web"
  address   = "192.168.0.200"
  port      = 80
  scheduler = "wrr"
  method    = "dr"
}
