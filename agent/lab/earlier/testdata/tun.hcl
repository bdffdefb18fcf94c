# The TUN cluster: the director wraps each packet in another IP header, and a
# tunnel on the real server unwraps it. The real servers may be on any network;
# here a router joins 192.168.10.0/24 and 192.168.0.0/24. The director needs no
# tunnel device: IPVS itself wraps. Answers go straight to the client.
#
#     clients, and lb (.100, VIP .200), on 192.168.10.0/24
#                        |
#      192.168.10.1   router   192.168.0.1
#                        |
#     192.168.0.0/24:   rs160   rs170   rs180
#
# The wrapped packet is 20 bytes longer. Where a filter on the way drops the
# ICMP messages that tell a client so, uploads hang: let those messages pass.

ssh {
  user = "root"
  # The sshd of these systems is as old as they are. Where nothing newer is
  # installed, say so here; lvsfleet warns of every host that needs it.
  # legacy_algorithms = true
}

role "director" {
  gateway    = "192.168.10.1" # the router: the way to the real servers
  ip_forward = true
}

role "web" {
  gateway = "192.168.0.1" # the router: the way back to the clients
}

host "lb" {
  os      = "linux"
  release = "2.6.15" # Fedora Core 5
  roles   = ["director"]
  address = "192.168.10.100"

  # The outer source of every wrapped packet, and so the far end of every
  # real server's tunnel: the address in the subnet of the gateway towards
  # them. It could be written out as tunnel_source.
  interface "eth0" { address = "192.168.10.100/24" }
}

# The tunnel is tunl0, which takes packets from any sender.
host "rs160" {
  os      = "linux"
  release = "2.6.15" # Fedora Core 5
  roles   = ["web"]
  address = "192.168.0.160"

  interface "eth0" { address = "192.168.0.160/24" }
}

# gif0 from 192.168.0.170 to 192.168.10.100, the VIP on lo0.
host "rs170" {
  os      = "freebsd"
  release = "5.4-RELEASE"
  roles   = ["web"]
  address = "192.168.0.170"

  interface "lnc0" { address = "192.168.0.170/24" }
}

# ip.tun0 from 192.168.0.180 to 192.168.10.100, carrying the VIP.
host "rs180" {
  os      = "solaris"
  release = "5.10" # what `uname -r` says on Solaris 10
  roles   = ["web"]
  address = "192.168.0.180"

  interface "pcn0" { address = "192.168.0.180/24" }
}

virtual_service "http" {
  director  = "director"
  pool      = "web"
  address   = "192.168.10.200"
  port      = 80 # with TUN the port is the same on VIP and real server
  protocol  = "tcp"
  scheduler = "wlc" # weighted least connection
  method    = "tun"

  # The far inside address that ip.tun must have. It is never used, and must
  # be nobody's.
  tunnel_peer = "192.168.10.99"
}
