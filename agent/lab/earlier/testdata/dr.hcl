# The DR cluster: the director changes nothing but the MAC address of a packet,
# so each real server holds the VIP itself, on its loopback, and keeps silent
# about it in ARP. Director and real servers share one segment. Answers go
# straight out by another router and never pass the director.
#
#     clients -- router A, .251 --+           +-- router B, .252 -- clients
#                                 |           |
#     192.168.0.0/24:   lb (.254, VIP .200)   rs160   rs170   rs180

ssh {
  user = "root"
  # The sshd of these systems is as old as they are. Where nothing newer is
  # installed, say so here; lvsfleet warns of every host that needs it.
  # legacy_algorithms = true
}

role "director" {
  gateway = "192.168.0.251" # router A: the way in
}

role "web" {
  gateway = "192.168.0.252" # router B: the way out
}

host "lb" {
  os      = "linux"
  release = "2.6.15" # Fedora Core 5
  roles   = ["director"]
  address = "192.168.0.254"

  interface "eth0" { address = "192.168.0.254/24" }
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

# The VIP is written here and nowhere else: eth0:0 of the director, lo:0 of
# rs160, an alias of lo0 on rs170 and lo0:1 on rs180 all follow from it.
virtual_service "http" {
  director  = "director"
  pool      = "web"
  address   = "192.168.0.200"
  port      = 80 # with DR the port is the same on VIP and real server
  protocol  = "tcp"
  scheduler = "wlc" # weighted least connection
  method    = "dr"
}
