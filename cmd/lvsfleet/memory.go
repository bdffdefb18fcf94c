package main

import (
	"bytes"
	"math"
	"path"
	"strconv"
	"strings"
)

// What of the machine's memory garbage may take before it is collected eagerly,
// and the least that it may be: no machine that runs this program has less.
const (
	leastMemory = 320 << 20
	memoryShare = 2 // a half
)

// memoryLimit is half of the memory that this process may have, in bytes: of the
// machine (proc(5), /proc/meminfo) or of its control group, whichever is less
// (Documentation/admin-guide/cgroup-v2.rst, memory.max; cgroup-v1/memory.rst,
// memory.limit_in_bytes). Where neither can be read there is no limit.
func memoryLimit(read func(name string) ([]byte, error)) int64 {
	most := int64(math.MaxInt64)
	if text, err := read("/proc/meminfo"); err == nil {
		for line := range bytes.Lines(text) {
			fields := strings.Fields(string(line))
			if len(fields) == 3 && fields[0] == "MemTotal:" {
				if n, err := strconv.ParseInt(fields[1], 10, 52); err == nil {
					most = n << 10
				}
			}
		}
	}
	for _, file := range groupFiles(read) {
		text, err := read(file)
		if err != nil {
			continue
		}
		if n, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64); err == nil && n > 0 {
			most = min(most, n)
		}
	}
	if most == math.MaxInt64 {
		return most
	}
	return max(most/memoryShare, leastMemory)
}

// groupFiles are the files that may limit this process: of its control group and
// of those above it.
func groupFiles(read func(name string) ([]byte, error)) []string {
	text, err := read("/proc/self/cgroup")
	if err != nil {
		return nil
	}
	var files []string
	for line := range bytes.Lines(text) {
		parts := strings.SplitN(strings.TrimSpace(string(line)), ":", 3)
		if len(parts) != 3 {
			continue
		}
		root, name := "", ""
		switch {
		case parts[0] == "0" && parts[1] == "":
			root, name = "/sys/fs/cgroup", "memory.max"
		case strings.Contains(","+parts[1]+",", ",memory,"):
			root, name = "/sys/fs/cgroup/memory", "memory.limit_in_bytes"
		default:
			continue
		}
		for dir := path.Clean("/" + parts[2]); ; dir = path.Dir(dir) {
			files = append(files, path.Join(root, dir, name))
			if dir == "/" {
				break
			}
		}
	}
	return files
}
