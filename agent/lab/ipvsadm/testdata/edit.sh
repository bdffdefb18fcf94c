ipvsadm
ipvsadm -A -t 192.168.0.200:80 -s wlc
ipvsadm -A -t 192.168.0.200:80 -s wlc
ipvsadm -A -t 192.168.0.200:443
ipvsadm -A -t 192.168.0.200:81 -s nonsense
ipvsadm -A -t 192.168.0.200
ipvsadm -A -t 192.168.0.200 -p
ipvsadm -A -u 192.168.0.200:53 -s rr -p 600 -M 255.255.255.0
ipvsadm -A -f 7 -s wrr
ipvsadm -A -f 8 -6 -s rr
ipvsadm -A -t [2001:db8::200]:80 -s rr -p 100 -M 64
ipvsadm -A --sctp-service 192.168.0.200:90 -s rr
ipvsadm -A -u 192.168.0.200:54 -s rr -o
ipvsadm -A -t 192.168.0.200:55 -s rr -o
ipvsadm -A -t 192.168.0.200:82 -s sh -b sh-fallback,sh-port
# real servers
ipvsadm -a -t 192.168.0.200:80 -r 192.168.0.160
ipvsadm -a -t 192.168.0.200:80 -r 192.168.0.170:80 -i -w 3
ipvsadm -a -t 192.168.0.200:80 -r 192.168.0.180:8080 -m -w 0 -x 100 -y 50
ipvsadm -a -t 192.168.0.200:80 -r 192.168.0.254:80 -m
# with -g and -i the port is the service's, whatever is said
ipvsadm -a -t 192.168.0.200:80 -r 192.168.0.190:8080 -g
ipvsadm -a -t 192.168.0.200:80 -r 192.168.0.160
ipvsadm -a -t 192.168.0.200:99 -r 192.168.0.160
ipvsadm -e -t 192.168.0.200:80 -r 192.168.0.160:80 -g -w 5
ipvsadm -e -t 192.168.0.200:80 -r 192.168.0.161:80 -g -w 5
ipvsadm -d -t 192.168.0.200:80 -r 192.168.0.161:80
ipvsadm -d -t 192.168.0.200:99 -r 192.168.0.161:80
ipvsadm -a -f 7 -r 192.168.0.160 -g
ipvsadm -a -t 192.168.0.200:80 -r 192.168.0.162 -w 65536
ipvsadm -a -t 192.168.0.200:80 -r 192.168.0.162 -w -1
ipvsadm -a -t 192.168.0.200:80
ipvsadm -D -t 192.168.0.200:99
ipvsadm -E -t 192.168.0.200:99 -s rr
ipvsadm -E -t 192.168.0.200:443 -s rr
ipvsadm -Ln
ipvsadm -L
ipvsadm -Ln --thresholds
ipvsadm -L -n --persistent-conn
ipvsadm -Ln --stats --exact
ipvsadm -Ln -t 192.168.0.200:443
ipvsadm -Ln -t 192.168.0.200:99
ipvsadm -S
ipvsadm -Sn
ipvsadm-save -n
# -R goes on after what the kernel refuses, and ends at what it cannot read
ipvsadm -R <<
# comment
ipvsadm -A -t 192.168.0.201:80 -s rr

-A -t 192.168.0.201:80 -s rr
-A -t 192.168.0.202:80 -s rr
.
ipvsadm -R <<
-A -t 192.168.0.203:99999
-A -t 192.168.0.204:80
.
ipvsadm -D -t 192.168.0.200:80
ipvsadm -Sn
ipvsadm -C
ipvsadm -Sn
ipvsadm-restore <<
-A -t 192.168.0.203:80 -s rr
.
ipvsadm -Sn
# bad usage
ipvsadm -A
ipvsadm -A -t
ipvsadm -A -t 80
ipvsadm -A -t host.example:80
ipvsadm -A -t 192.168.0.200:80 -t 192.168.0.200:81
ipvsadm -A -t 192.168.0.200:80 -w 3
ipvsadm -L -s rr
ipvsadm -A -D -t 192.168.0.200:80
ipvsadm foo
ipvsadm -A -t 192.168.0.200:80 foo
# not modelled
ipvsadm -Z
ipvsadm -Ln --stats
ipvsadm --start-daemon master
ipvsadm --set 900 120 300
