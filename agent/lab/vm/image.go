package vm

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// An Image is the content of an initramfs, by path without the leading slash.
// Everything in it belongs to root.
type Image struct{ entries map[string]entry }

type entry struct {
	mode fs.FileMode
	data []byte // of a link, where it leads
}

// Put puts a file into the image, with the folders above it.
func (i *Image) Put(name string, mode fs.FileMode, data []byte) {
	if i.entries == nil {
		i.entries = map[string]entry{}
	}
	name = strings.Trim(path.Clean(name), "/")
	i.entries[name] = entry{mode, data}
	for dir := path.Dir(name); dir != "."; dir = path.Dir(dir) {
		if _, ok := i.entries[dir]; !ok {
			i.entries[dir] = entry{mode: fs.ModeDir | 0o755}
		}
	}
}

// Dir makes a folder.
func (i *Image) Dir(name string) { i.Put(name, fs.ModeDir|0o755, nil) }

// Link makes a symbolic link.
func (i *Image) Link(name, target string) { i.Put(name, fs.ModeSymlink|0o777, []byte(target)) }

// Copy copies a file of this machine to a name of the image.
func (i *Image) Copy(from, name string) error {
	data, err := os.ReadFile(from)
	if err != nil {
		return fmt.Errorf("copy into the image: %w", err)
	}
	info, err := os.Stat(from)
	if err != nil {
		return fmt.Errorf("copy into the image: %w", err)
	}
	i.Put(name, info.Mode().Perm()|info.Mode()&fs.ModeSetuid, data)
	return nil
}

// Program copies a program of this machine, and the libraries that it is
// linked with, to where they are here. It is looked for in PATH and in the
// system's folders.
func (i *Image) Program(ctx context.Context, name string) error {
	file := ""
	for _, dir := range append(filepath.SplitList(os.Getenv("PATH")), "/usr/sbin", "/sbin", "/usr/bin", "/bin") {
		if info, err := os.Stat(filepath.Join(dir, name)); err == nil && info.Mode().IsRegular() {
			file = filepath.Join(dir, name)
			break
		}
	}
	if file == "" {
		return fmt.Errorf("program %s: %w", name, fs.ErrNotExist)
	}
	real, err := filepath.EvalSymlinks(file)
	if err != nil {
		return err
	}
	if err := i.Copy(real, "/usr/sbin/"+name); err != nil {
		return err
	}
	return i.libraries(ctx, real)
}

// Library copies a library that a program loads by itself, by its path here,
// and those that it is linked with.
func (i *Image) Library(ctx context.Context, file string) error {
	if err := i.Copy(file, file); err != nil {
		return err
	}
	return i.libraries(ctx, file)
}

func (i *Image) libraries(ctx context.Context, file string) error {
	text, err := exec.CommandContext(ctx, "ldd", file).Output()
	if err != nil {
		return nil //nolint:nilerr // ldd fails on what is linked with nothing
	}
	for _, word := range strings.Fields(string(text)) {
		if !strings.HasPrefix(word, "/") {
			continue
		}
		if _, ok := i.entries[strings.Trim(word, "/")]; ok {
			continue
		}
		if err := i.Copy(word, word); err != nil {
			return err
		}
	}
	return nil
}

// Modules copies kernel modules, by the name of their file, with all that they
// need.
func (i *Image) Modules(ctx context.Context, k Kernel, names ...string) error {
	dir := filepath.Join("lib/modules", k.Version)
	text, err := os.ReadFile(filepath.Join(k.Root, dir, "modules.dep"))
	if err != nil {
		return err
	}
	needs := map[string][]string{}
	files := map[string]string{}
	for line := range strings.Lines(string(text)) {
		file, rest, ok := strings.Cut(strings.TrimSpace(line), ":")
		if ok {
			needs[file] = strings.Fields(rest)
			files[strings.TrimSuffix(path.Base(file), ".ko")] = file
		}
	}
	builtin, err := os.ReadFile(filepath.Join(k.Root, dir, "modules.builtin"))
	if err != nil {
		return err
	}
	var all []string
	for _, n := range names {
		file, ok := files[n]
		if strings.Contains(string(builtin), "/"+n+".ko\n") {
			continue
		}
		if !ok {
			return fmt.Errorf("kernel module %s: %w", n, fs.ErrNotExist)
		}
		all = append(append(all, file), needs[file]...)
	}
	slices.Sort(all)
	all = slices.Compact(all)
	tmp, err := os.MkdirTemp("", "modules")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	for _, file := range append(all, "modules.builtin", "modules.order") {
		data, err := os.ReadFile(filepath.Join(k.Root, dir, file))
		if err != nil {
			return err
		}
		at := filepath.Join(tmp, dir, file)
		if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(at, data, 0o644); err != nil {
			return err
		}
	}
	if text, err := exec.CommandContext(ctx, "depmod", "-b", tmp, k.Version).CombinedOutput(); err != nil {
		return fmt.Errorf("depmod: %w\n%s", err, text)
	}
	return filepath.WalkDir(tmp, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		return i.Copy(p, strings.TrimPrefix(p, tmp))
	})
}

// WriteTo writes the image as a cpio archive in the format that the kernel
// reads ("newc", Documentation/driver-api/early-userspace/buffer-format.rst).
func (i *Image) WriteTo(w io.Writer) (int64, error) {
	out := bufio.NewWriter(w)
	var n int64
	names := make([]string, 0, len(i.entries))
	for name := range i.entries {
		names = append(names, name)
	}
	slices.Sort(names) // a folder comes before what is in it
	put := func(b []byte) error {
		n += int64(len(b))
		_, err := out.Write(b)
		return err
	}
	pad := func() error {
		if rest := n % 4; rest != 0 {
			return put(make([]byte, 4-rest))
		}
		return nil
	}
	record := func(ino int, name string, e entry) error {
		mode := uint32(e.mode.Perm())
		if e.mode&fs.ModeSetuid != 0 {
			mode |= 0o4000
		}
		switch {
		case e.mode.IsDir():
			mode |= 0o040000
		case e.mode&fs.ModeSymlink != 0:
			mode |= 0o120000
		default:
			mode |= 0o100000
		}
		var b bytes.Buffer
		b.WriteString("070701")
		for _, field := range []uint32{uint32(ino), mode, 0, 0, 1, 0, uint32(len(e.data)), 0, 0, 0, 0, uint32(len(name) + 1), 0} {
			fmt.Fprintf(&b, "%08X", field)
		}
		b.WriteString(name + "\x00")
		if err := put(b.Bytes()); err != nil {
			return err
		}
		if err := pad(); err != nil {
			return err
		}
		if err := put(e.data); err != nil {
			return err
		}
		return pad()
	}
	for ino, name := range names {
		if err := record(ino+1, name, i.entries[name]); err != nil {
			return n, err
		}
	}
	if err := record(0, "TRAILER!!!", entry{}); err != nil {
		return n, err
	}
	return n, out.Flush()
}
