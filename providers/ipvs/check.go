package ipvs

import (
	"errors"
	"fmt"
	"net/netip"
	"syscall"
)

// A kernelError is one of the kernel's answers in the words of ipvsadm(8).
type kernelError struct {
	errno syscall.Errno
	text  string
}

func (e *kernelError) Error() string { return e.text }
func (e *kernelError) Unwrap() error { return e.errno }

// explain puts the kernel's answer to an edit in the words of ipvsadm
// (libipvs.c, ipvs_strerror), which people know.
func explain(v Verb, errno syscall.Errno) error {
	text := ""
	switch {
	case errno == syscall.EEXIST && v == AddService:
		text = "Service already exists"
	case errno == syscall.EEXIST && v == AddDest:
		text = "Destination already exists"
	case errno == syscall.ESRCH && (v == EditService || v == DeleteService):
		text = "No such service"
	case errno == syscall.ESRCH:
		text = "Service not defined"
	case errno == syscall.ENOENT && (v == AddService || v == EditService):
		text = "Scheduler or persistence engine not found"
	case errno == syscall.ENOENT:
		text = "No such destination"
	case errno == syscall.EPERM:
		text = "Permission denied (you must be root)"
	case errno == syscall.EINVAL:
		text = "Invalid operation.  Possibly wrong module version, address not unicast, ..."
	case errno == syscall.ENOPROTOOPT:
		text = "Protocol not available"
	case errno == syscall.EAFNOSUPPORT:
		text = "Operation not supported with specified address family"
	case errno == syscall.ERANGE:
		text = "Numerical result out of range"
	default:
		return errno
	}
	return &kernelError{errno, text}
}

// refuse is what ipvsadm refuses before it asks the kernel, which would take
// it and then serve nobody: every implementation refuses it alike.
func refuse(e Edit) error {
	s := e.Service
	switch e.Verb {
	case AddService, EditService:
		if s.Key.Mark == 0 && s.Key.Port == 0 && s.Flags&Persistent == 0 {
			return errors.New("Zero port specified for non-persistent service") //nolint:staticcheck // ipvsadm's words
		}
		if s.Flags&OnePacket != 0 && s.Key.Mark == 0 && s.Key.Protocol != "udp" {
			return errors.New("One-Packet Scheduling is only for UDP virtual services") //nolint:staticcheck // ipvsadm's words
		}
		if s.Key.Mark == 0 && (protocolNumber(s.Key.Protocol) == 0 || !s.Key.Addr.IsValid()) {
			return fmt.Errorf("service %q has no protocol or no address", s.Key)
		}
	case AddDest, EditDest, DeleteDest:
		if !e.Dest.Addr.IsValid() {
			return errors.New("the real server has no address")
		}
	case DeleteService:
	default:
		return errors.New(e.Verb.String())
	}
	return nil
}

// kernelRules says what the kernel answers to e on the present state, 0 where
// it takes it (net/netfilter/ipvs/ip_vs_ctl.c: ip_vs_genl_set_cmd,
// ip_vs_add_service, ip_vs_add_dest, ip_vs_new_dest).
func (st *state) kernelRules(e Edit, schedulers func(string) bool) syscall.Errno {
	now := st.get(e.Service.Key)
	if e.Verb == AddService {
		if now != nil {
			return syscall.EEXIST
		}
	} else if now == nil {
		return syscall.ESRCH
	}
	there := false
	if now != nil {
		_, there = now.dests[e.Dest.DestKey]
	}
	switch e.Verb {
	case AddService, EditService:
		if !schedulers(e.Service.Scheduler) {
			return syscall.ENOENT
		}
		if e.Service.Key.IPv6() && (e.Service.Netmask < 0 || e.Service.Netmask > 128) {
			return syscall.EINVAL
		}
	case AddDest, EditDest:
		d := e.Dest
		if d.Addr.Is6() != e.Service.Key.IPv6() && d.Method != TUN {
			return syscall.EINVAL // only a tunnel crosses families
		}
		if d.Weight < 0 || d.Lower > d.Upper {
			return syscall.ERANGE
		}
		if d.Tunnel == GUE && d.TunnelPort == 0 {
			return syscall.EINVAL
		}
		if there == (e.Verb == AddDest) {
			if there {
				return syscall.EEXIST
			}
			return syscall.ENOENT
		}
		if e.Verb == AddDest && !unicast(d.Addr) {
			return syscall.EINVAL
		}
	case DeleteDest:
		if !there {
			return syscall.ENOENT
		}
	}
	return 0
}

// unicast is what inet_addr_type and ipv6_addr_type let through without
// knowing the machine's addresses.
func unicast(a netip.Addr) bool {
	if a.Is6() && a.IsLinkLocalUnicast() {
		return false
	}
	return !a.IsUnspecified() && !a.IsMulticast()
}
