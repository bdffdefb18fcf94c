# The NAT cluster: clients reach 192.168.10.254, the director's outside
# address, and the director rewrites each packet to a real server inside. The
# answers come back through the director, since it is every real server's
# default gateway.
#
#     clients, 192.168.10.0/24
#              |
#      eth0 192.168.10.254 = the VIP
#              lb                        (a real server itself)
#      eth1 192.168.0.254
#              |
#     192.168.0.0/24: rs160, rs170, rs180

ssh {
  user = "root"
  # The sshd of these systems is as old as they are. Where nothing newer is
  # installed, say so here; lvsfleet warns of every host that needs it.
  # legacy_algorithms = true
}

role "director" {}

# No gateway here: with NAT the real servers' default route is the director's
# address in their subnet, 192.168.0.254, and lvsfleet sees to it. Any other
# value would be an error.
role "web" {}

host "lb" {
  os      = "linux"
  release = "2.6.15" # Fedora Core 5
  roles   = ["director"]
  address = "192.168.0.254"

  interface "eth0" { # outside
    address = "192.168.10.254/24"
  }
  interface "eth1" { # inside
    address = "192.168.0.254/24"
  }
}

host "rs160" {
  os      = "linux"
  release = "2.6.15" # Fedora Core 5
  roles   = ["web"]
  address = "192.168.0.160"

  interface "eth0" { address = "192.168.0.160/24" }
}

host "rs170" {
  os      = "freebsd"
  release = "5.4-RELEASE"
  roles   = ["web"]
  address = "192.168.0.170"

  interface "lnc0" { address = "192.168.0.170/24" }
}

host "rs180" {
  os      = "solaris"
  release = "5.10" # what `uname -r` says on Solaris 10
  roles   = ["web"]
  address = "192.168.0.180"

  interface "pcn0" { address = "192.168.0.180/24" }
}

virtual_service "http" {
  director = "director"
  pool     = "web"

  # The director holds this address as its own: it serves as the VIP as it
  # is, and lvsfleet neither adds nor removes it.
  address   = "192.168.10.254"
  port      = 80
  protocol  = "tcp"
  scheduler = "wlc" # weighted least connection
  method    = "nat"

  # The director answers a share of the clients itself, at 192.168.0.254:80.
  real_server "lb" {}
}
