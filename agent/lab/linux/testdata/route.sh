# eras: current el7 fc5
ip route add default via 192.168.0.252
ip route add default via 192.168.0.252
ip route add default via 192.168.0.250
ip route add default via 192.168.0.253 metric 10
ip route
ip route show default
ip -o -4 route show default
ip route replace default via 192.168.0.251
ip route show default
ip route del default via 192.168.0.1
ip route get 192.168.0.5
ip route get 10.1.2.3
ip -o route get 192.168.10.1
ip route get 127.0.0.1
ip route get 192.168.0.160
ip route get 192.168.0.255
ip addr add 192.168.0.200/32 dev lo label lo:0
ip route get 192.168.0.200
ip route get 10.1.2.3 from 192.168.0.200
ip route del default
ip route
ip route del default
ip route del default
ip route replace default via 10.9.9.9
ip route add 10.0.0.0/8 via 192.168.0.251
ip route add default via 192.168.0.252 src 192.168.0.200
ip route
ip route get 8.8.8.8
ip route show via 192.168.0.251
ip route show dev eth0
ip addr del 192.168.0.200/32 dev lo
ip route show default
ip route add default via 192.168.0.252 advmss 1440
ip route show default
ip route get 11.1.1.1
ip route del default
ip route get 11.1.1.1
ip route get
ip route get foo
ip route add default via foo
ip -6 addr add 2001:db8:1::5/64 dev eth0
ip -6 route add default via 2001:db8:1::1
ip -6 route add default via 2001:db8:1::1
ip -6 route show default
ip -6 route get 2001:db8:2::1
ip -6 route del default
ip -6 route del default
ip route show table 100
