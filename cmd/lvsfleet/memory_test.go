package main

import (
	"io/fs"
	"math"
	"testing"
)

func TestMemoryLimit(t *testing.T) {
	const gib = 1 << 30
	for name, c := range map[string]struct {
		files map[string]string
		want  int64
	}{
		"no files":        {nil, math.MaxInt64},
		"the machine":     {map[string]string{"/proc/meminfo": "MemTotal:       16777216 kB\nMemFree:  1 kB\n"}, 8 * gib},
		"a small machine": {map[string]string{"/proc/meminfo": "MemTotal:       131072 kB\n"}, leastMemory},
		"a group": {map[string]string{
			"/proc/meminfo": "MemTotal:       16777216 kB\n", "/proc/self/cgroup": "0::/a/b\n",
			"/sys/fs/cgroup/a/b/memory.max": "max\n", "/sys/fs/cgroup/a/memory.max": "4294967296\n",
		}, 2 * gib},
		"an old group": {map[string]string{
			"/proc/meminfo": "MemTotal:       16777216 kB\n", "/proc/self/cgroup": "4:cpu,cpuacct:/x\n3:memory:/x\n",
			"/sys/fs/cgroup/memory/x/memory.limit_in_bytes": "2147483648\n", "/sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
		}, gib},
		"nonsense": {map[string]string{"/proc/meminfo": "MemTotal: x kB\n", "/proc/self/cgroup": "a\n:\n", "/sys/fs/cgroup/memory.max": "-1\n"}, math.MaxInt64},
	} {
		got := memoryLimit(func(name string) ([]byte, error) {
			if text, ok := c.files[name]; ok {
				return []byte(text), nil
			}
			return nil, fs.ErrNotExist
		})
		if got != c.want {
			t.Errorf("%s: %d, want %d", name, got, c.want)
		}
	}
}
