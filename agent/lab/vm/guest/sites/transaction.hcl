ssh {
  identity_file   = "/etc/lab/user_key"
  known_hosts     = "/etc/lab/known_hosts"
  connect_timeout = 60 # a machine without hardware help, beside others
}

rollout {
  batch           = [1, "50%"]
  drain           = 60 # a client that stays longer than any check takes
  confirm_timeout = 20
}

# The real servers are what these variables say.
variable "pool" {
  type    = list(string)
  default = ["rs160", "rs161"]
}

variable "far" {
  type    = list(string)
  default = ["rs160", "rs161"]
}

variable "gateway" { # of them all
  type    = string
  default = "192.168.0.252"
}

# Where SSH goes to rs160 (else over the management network), and its own
# gateway.
variable "rs160" {
  type    = string
  default = "10.99.0.160"
}

variable "rs160_gateway" {
  type    = string
  default = null
}

variable "hosts" {
  type    = number
  default = 2
}

variable "forward" {
  type    = bool
  default = null
}

role "director" {
  gateway    = "192.168.0.251"
  ip_forward = var.forward
}

role "web" {}

role "far" {}

host "lb" {
  os      = "linux"
  roles   = ["director"]
  address = "10.99.0.254"
  interface "eth0" { address = "192.168.0.254/24" }
}

locals {
  numbers = { for n in range(160, 160 + var.hosts) : "rs${n}" => n }
}

host "${each.key}" {
  for_each = local.numbers
  os       = "linux"
  roles    = concat(contains(var.pool, each.key) ? ["web"] : [], contains(var.far, each.key) ? ["far"] : [])
  address  = each.key == "rs160" ? var.rs160 : "10.99.0.${each.value}"
  gateway  = !contains(concat(var.pool, var.far), each.key) ? null : each.key == "rs160" && var.rs160_gateway != null ? var.rs160_gateway : var.gateway
  interface "eth0" { address = "192.168.0.${each.value}/24" }
}

virtual_service "http" {
  director         = "director"
  pool             = "web"
  address          = "192.168.0.200"
  port             = 80
  scheduler        = "rr"
  method           = "dr"
  require_listener = true
}

virtual_service "far" {
  director  = "director"
  pool      = "far"
  address   = "192.168.0.201"
  port      = 80
  scheduler = "rr"
  method    = "tun"
}
