# eras: current fc5
ip addr add 192.168.0.200/32 dev lo label lo:0
ip addr add 192.168.0.200/32 dev lo label lo:0
ip addr add 192.168.0.201/32 brd 192.168.0.201 dev lo label lo:1
ip -o -4 addr show dev lo
ip -4 addr show dev lo
ip addr replace 192.168.0.200/32 dev lo label lo:7
ip addr show label lo:0
ip -o -4 addr show to 192.168.0.200/32
ip addr del 192.168.0.222/32 dev lo
ip addr del 192.168.0.222/32 dev eth9
ip addr del 192.168.0.200 dev lo
ip addr del 192.168.0.201/32 dev lo
ip addr add 1.2.3.4
ip addr add 1.2.3.400/32 dev lo
ip addr show dev nix
ip link show dev nix
ip addr add 192.168.0.203/24 dev eth0
ip addr add 192.168.0.204/32 dev eth0 label eth0:0
ip -o -4 addr show dev eth0
ip addr del 192.168.0.160/24 dev eth0
ip -o -4 addr show dev eth0
ip addr add 192.168.0.160/24 brd + dev eth0
ip addr add 10.0.0.1 peer 10.0.0.2 dev eth0
ip -o -4 addr show dev eth0
ip route
ip addr del 10.0.0.1 peer 10.0.0.2 dev eth0
ip -6 addr add 2001:db8::1/128 dev lo
ip -6 addr add 2001:db8::1/128 dev lo
ip -o -6 addr show dev lo
ip -6 addr del 2001:db8::2/128 dev lo
ip addr add 10.2.2.2/32 dev lo scope host
ip -o -4 addr show dev lo
ip addr flush dev lo label lo:3
ip link set nix up
ip link set eth0 mtu 1400
ip -o link show dev eth0
ip link set eth0 down
ip route
ip link set eth0 up
ip route
ip foo
ip addr add 10.0.0.1/32 dev lo frobnicate
ip -j addr
