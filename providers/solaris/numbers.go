package solaris

import (
	"regexp"
	"strconv"
)

// numbers are the N of lo0:N and ip.tunN that are taken, live and by boot
// files (a stray copy takes its number too).
type numbers struct {
	live, boot map[string]bool
}

// leading is the interface that the name of a file, or of a stray copy,
// begins with.
var leading = regexp.MustCompile(`^(lo0:[0-9]+|ip\.tun[0-9]+)`)

func newNumbers(f Facts) numbers {
	n := numbers{live: map[string]bool{}, boot: map[string]bool{}}
	for _, i := range f.Interfaces {
		n.live[i.Name] = true
	}
	if f.Boot != nil {
		for _, file := range f.Boot.Hostname {
			n.boot[leading.FindString(file.Interface)] = true
		}
	}
	return n
}

// place chooses the names of what has to be made, live, in a boot file, or
// both: the one that the other layer has already where it is free here, else
// the first (from first on) that is free in both.
func (n numbers) place(prefix string, first int, live, boot string) (liveName, bootName string) {
	liveName, bootName = live, boot
	if liveName == "" && bootName != "" && !n.live[bootName] {
		liveName = bootName
	}
	if bootName == "" && liveName != "" && !n.boot[liveName] {
		bootName = liveName
	}
	for i := first; liveName == "" || bootName == ""; i++ {
		name := prefix + strconv.Itoa(i)
		if n.live[name] || n.boot[name] {
			continue
		}
		if liveName == "" {
			liveName = name
		}
		if bootName == "" {
			bootName = name
		}
	}
	n.live[liveName], n.boot[bootName] = true, true
	return liveName, bootName
}
