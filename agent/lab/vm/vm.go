// Package vm boots the lab on a real kernel: a virtual machine of QEMU without
// any network card, Debian's stock cloud kernel, and an initramfs put together
// from packages of this machine and the project's own programs. What runs in
// it is package guest.
package vm

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Packages are Debian's, without which the image cannot be made or run.
func Packages() []string {
	return []string{
		"qemu-system-x86", "busybox-static", "openssh-server", "openssh-client",
		"iproute2", "ipvsadm", "kmod", "procps", "sudo", "libpam-modules",
	}
}

// A Machine is what to boot.
type Machine struct {
	Kernel string
	Initrd string
	Args   string // what the guest finds behind lab= on its kernel's command line
	Memory int    // MiB
	Limit  time.Duration
}

// verdict is the last line of a run.
var verdict = regexp.MustCompile(`^([0-9]+) passed, ([0-9]+) failed$`)

// A Verdict counts the checks of a run.
type Verdict struct{ Passed, Failed int }

// String is the verdict as the last line of a run.
func (v Verdict) String() string { return fmt.Sprintf("%d passed, %d failed", v.Passed, v.Failed) }

// Run boots the machine and copies what it says to out, line by line, until it
// powers off. An error says that it did not come to its end, or that a check
// failed; the verdict is as far as it came.
func (m Machine) Run(ctx context.Context, out io.Writer) (v Verdict, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, m.Limit, fmt.Errorf("the virtual machine was not done after %s", m.Limit))
	defer cancel()
	cmd := exec.CommandContext(ctx, "qemu-system-x86_64",
		"-accel", "tcg", "-cpu", "qemu64", // what more a processor has is emulated slowly
		"-m", strconv.Itoa(m.Memory), "-smp", "2",
		"-nic", "none", "-display", "none", "-monitor", "none", "-serial", "stdio", "-no-reboot",
		"-kernel", m.Kernel, "-initrd", m.Initrd,
		"-append", "console=ttyS0 quiet panic=-1 rdinit=/init lab="+m.Args)
	cmd.Stderr = out
	pipe, err := cmd.StdoutPipe()
	if err != nil {
		return v, err
	}
	if err := cmd.Start(); err != nil {
		return v, fmt.Errorf("start QEMU: %w", err)
	}
	told := false
	lines := bufio.NewScanner(pipe)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		line := clean(lines.Text())
		if f := verdict.FindStringSubmatch(line); f != nil {
			told = true
			v.Passed, _ = strconv.Atoi(f[1])
			v.Failed, _ = strconv.Atoi(f[2])
		}
		fmt.Fprintln(out, line)
	}
	err = cmd.Wait()
	switch {
	case ctx.Err() != nil:
		return v, context.Cause(ctx)
	case err != nil:
		return v, fmt.Errorf("QEMU: %w", err)
	case !told:
		return v, errors.New("the virtual machine went down before its checks were done")
	case v.Failed > 0:
		return v, errors.New(v.String())
	case v.Passed == 0:
		return v, errors.New("no check was made")
	}
	return v, nil
}

// clean takes away what the firmware and the serial line add.
func clean(line string) string {
	line = strings.TrimRight(line, "\r")
	if i := strings.LastIndex(line, "\x1b"); i >= 0 {
		line = regexp.MustCompile(`\x1b(\[[0-9;?=]*[a-zA-Z]|c)`).ReplaceAllString(line, "")
	}
	return line
}

// Install installs those of the packages that are missing, as root on a
// Debian.
func Install(ctx context.Context, out io.Writer, packages ...string) error {
	var missing []string
	for _, p := range packages {
		state, err := exec.CommandContext(ctx, "dpkg-query", "-W", "-f", "${Status}", p).Output()
		if err != nil || !strings.HasSuffix(string(state), " installed") {
			missing = append(missing, p)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	fmt.Fprintln(out, "install", strings.Join(missing, " "))
	for _, argv := range [][]string{
		{"apt-get", "update", "-q"},
		append([]string{"apt-get", "install", "-y", "-q", "--no-install-recommends"}, missing...),
	} {
		cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
		cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
		if text, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("%s: %w\n%s", strings.Join(argv, " "), err, text)
		}
	}
	return nil
}

// A Kernel is an unpacked kernel package.
type Kernel struct {
	Version string
	Image   string // the kernel itself
	Root    string // the folder that holds lib/modules
}

var kernelPackage = regexp.MustCompile(`linux-image-([0-9]\S*-cloud-amd64)\b`)

// FetchKernel finds Debian's current cloud kernel, downloads its package into
// cache, unless it is there, and unpacks it. One that was downloaded before
// serves where apt does not know a newer one.
func FetchKernel(ctx context.Context, cache string, out io.Writer) (Kernel, error) {
	found, err := filepath.Glob(filepath.Join(cache, "kernel-*", "boot", "vmlinuz-*"))
	if err != nil {
		return Kernel{}, err
	}
	if len(found) > 0 {
		return kernelAt(found[len(found)-1]), nil
	}
	version, deb, err := download(ctx, cache, out)
	if err != nil {
		// What apt knows may be older than what its servers have.
		fmt.Fprintln(out, err)
		if text, err := exec.CommandContext(ctx, "apt-get", "update", "-q").CombinedOutput(); err != nil {
			return Kernel{}, fmt.Errorf("apt-get update: %w\n%s", err, text)
		}
		if version, deb, err = download(ctx, cache, out); err != nil {
			return Kernel{}, err
		}
	}
	tmp, root := filepath.Join(cache, "unpack"), filepath.Join(cache, "kernel-"+version)
	if err := os.RemoveAll(tmp); err != nil {
		return Kernel{}, err
	}
	for _, argv := range [][]string{
		{"dpkg-deb", "-x", deb, tmp},
		{"depmod", "-b", tmp, version},
	} {
		if text, err := exec.CommandContext(ctx, argv[0], argv[1:]...).CombinedOutput(); err != nil {
			return Kernel{}, fmt.Errorf("%s: %w\n%s", strings.Join(argv, " "), err, text)
		}
	}
	if err := os.Rename(tmp, root); err != nil {
		return Kernel{}, err
	}
	return kernelAt(filepath.Join(root, "boot", "vmlinuz-"+version)), nil
}

// download fetches the package of the kernel that apt knows.
func download(ctx context.Context, cache string, out io.Writer) (version, deb string, err error) {
	text, err := exec.CommandContext(ctx, "apt-cache", "depends", "linux-image-cloud-amd64").CombinedOutput()
	m := kernelPackage.FindStringSubmatch(string(text))
	if err != nil {
		return "", "", fmt.Errorf("apt-cache depends linux-image-cloud-amd64: %w\n%s", err, text)
	}
	if m == nil {
		return "", "", fmt.Errorf("apt knows no kernel package:\n%s", text)
	}
	fmt.Fprintln(out, "download", m[0])
	dir := filepath.Join(cache, "download")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", "", err
	}
	get := exec.CommandContext(ctx, "apt-get", "download", m[0])
	get.Dir = dir
	if text, err := get.CombinedOutput(); err != nil {
		return "", "", fmt.Errorf("apt-get download %s: %w\n%s", m[0], err, text)
	}
	debs, err := filepath.Glob(filepath.Join(dir, m[0]+"_*.deb"))
	if err != nil || len(debs) == 0 {
		return "", "", fmt.Errorf("apt-get download %s left no package", m[0])
	}
	return m[1], debs[len(debs)-1], nil
}

func kernelAt(image string) Kernel {
	return Kernel{
		Version: strings.TrimPrefix(filepath.Base(image), "vmlinuz-"),
		Image:   image,
		Root:    filepath.Dir(filepath.Dir(image)),
	}
}
