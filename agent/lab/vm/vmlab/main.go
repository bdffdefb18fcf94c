// Command vmlab proves lvsfleet on a real kernel: it builds virtual machines,
// boots them side by side, and copies what their checks say to standard output,
// each line behind the number of its machine. The transcripts of the last run
// are kept in the cache.
//
//	go run ./agent/lab/vm/vmlab [-cache .cache/vmlab] [-run PARTS[/PARTS]] [-limit 20m]
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/lvsfleet/lvsfleet/agent/lab/vm"
)

func main() {
	cache := flag.String("cache", ".cache/vmlab", "downloads and the transcript are kept in this `folder`")
	run := flag.String("run", "all", "the `parts` to run, separated by commas; with a slash between them, each list in a machine of its own")
	limit := flag.Duration("limit", 20*time.Minute, "the machine is ended after this time")
	memory := flag.Int("memory", 2048, "of a machine, in MiB")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := prove(ctx, *cache, *run, *limit, *memory); err != nil {
		fmt.Fprintln(os.Stderr, "vmlab:", err)
		os.Exit(1)
	}
}

func prove(ctx context.Context, cache, run string, limit time.Duration, memory int) error {
	begun := time.Now()
	step := func(format string, args ...any) {
		fmt.Printf("vmlab: %s (%.0fs)\n", fmt.Sprintf(format, args...), time.Since(begun).Seconds())
	}
	root, err := os.Getwd()
	if err != nil {
		return err
	}
	if cache, err = filepath.Abs(cache); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Join(cache, "bin"), 0o755); err != nil {
		return err
	}
	if err := vm.Install(ctx, os.Stdout, vm.Packages()...); err != nil {
		return err
	}
	kernel, err := vm.FetchKernel(ctx, cache, os.Stdout)
	if err != nil {
		return err
	}
	step("build the programs")
	if err := vm.Programs(ctx, root, filepath.Join(cache, "bin")); err != nil {
		return err
	}
	initrd := filepath.Join(cache, "initrd")
	if err := pack(ctx, kernel, filepath.Join(cache, "bin"), initrd); err != nil {
		return err
	}
	if run == "all" {
		run = everything
	}
	step("boot Linux %s", kernel.Version)
	lists := strings.Split(strings.ReplaceAll(run, " ", ""), "/")
	verdicts, errs := make([]vm.Verdict, len(lists)), make([]error, len(lists))
	var out sync.Mutex
	var machines sync.WaitGroup
	for i, parts := range lists {
		machines.Go(func() {
			m := vm.Machine{Kernel: kernel.Image, Initrd: initrd, Args: parts, Memory: memory, Limit: limit}
			verdicts[i], errs[i] = boot(ctx, m, i+1, cache, &out)
		})
	}
	machines.Wait()
	var total vm.Verdict
	for _, v := range verdicts {
		total.Passed += v.Passed
		total.Failed += v.Failed
	}
	step("done")
	fmt.Println(total)
	return errors.Join(errs...)
}

// everything is all that is checked, in two machines that take about as long.
const everything = "nat,dr,tun,mistakes,download/ipvs,large,kernel,become,transaction"

// boot runs a machine, and keeps what it says.
func boot(ctx context.Context, m vm.Machine, number int, cache string, out *sync.Mutex) (vm.Verdict, error) {
	name := filepath.Join(cache, fmt.Sprintf("transcript-%d.txt", number))
	transcript, err := os.Create(name)
	if err != nil {
		return vm.Verdict{}, err
	}
	v, err := m.Run(ctx, io.MultiWriter(&numbered{number, out}, transcript))
	if cerr := transcript.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return v, fmt.Errorf("machine %d: %w (transcript: %s)", number, err, name)
	}
	return v, nil
}

// A numbered writes lines to standard output behind the number of their
// machine. Each write is whole lines.
type numbered struct {
	number int
	mu     *sync.Mutex
}

func (n *numbered) Write(p []byte) (int, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	_, err := fmt.Printf("%d %s", n.number, p)
	return len(p), err
}

// packSudo adds what sudo loads and reads: ops may become root, and is asked for
// no password. The module that asks for one is there too, for a host that wants it.
func packSudo(ctx context.Context, i *vm.Image) error {
	for _, pattern := range []string{"/usr/lib*/sudo/sudoers.so", "/lib/*/security/pam_permit.so", "/lib/*/security/pam_unix.so"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			return err
		}
		if len(files) == 0 {
			return fmt.Errorf("%s is not installed", pattern)
		}
		for _, file := range files {
			if err := i.Library(ctx, file); err != nil {
				return err
			}
		}
	}
	permit := ""
	for _, kind := range []string{"auth", "account", "session"} {
		permit += kind + " required pam_permit.so\n"
	}
	i.Put("/etc/pam.d/sudo", 0o644, []byte(permit))
	i.Put("/etc/sudoers", 0o440, []byte("Defaults secure_path=\"/usr/sbin:/usr/bin:/sbin:/bin\"\nroot ALL=(ALL) ALL\nops ALL=(ALL) NOPASSWD: ALL\n"))
	return nil
}

// pack makes the initramfs.
func pack(ctx context.Context, kernel vm.Kernel, bin, to string) error {
	var i vm.Image
	for _, d := range []string{"/bin", "/sbin", "/proc", "/sys", "/dev", "/tmp", "/run/sshd", "/root", "/var/empty", "/var/lib", "/var/log", "/var/run", "/etc/lab"} {
		i.Dir(d)
	}
	for _, name := range []string{"busybox", "sshd", "ssh", "ip", "ipvsadm", "kmod", "sysctl", "dash", "nsenter", "sudo"} {
		if err := i.Program(ctx, name); err != nil {
			return err
		}
	}
	i.Link("/bin/busybox", "/usr/sbin/busybox")
	i.Link("/bin/sh", "/usr/sbin/dash") // busybox' shell would take its own commands before those in PATH
	// Every other small command is busybox', the second in PATH.
	applets, err := exec.CommandContext(ctx, "busybox", "--list").Output()
	if err != nil {
		return fmt.Errorf("list busybox' commands: %w", err)
	}
	for _, name := range strings.Fields(string(applets)) {
		if name != "busybox" && name != "sh" {
			i.Link("/usr/bin/"+name, "/bin/busybox")
		}
	}
	for _, name := range []string{"modprobe", "lsmod"} {
		i.Link("/usr/sbin/"+name, "kmod")
	}
	i.Link("/sbin/modprobe", "/usr/sbin/kmod") // what the kernel itself calls
	for _, p := range [][2]string{{"guest", "/bin/guest"}, {"shell", "/bin/standin-sh"}, {"lvsfleet", "/bin/lvsfleet"}} {
		if err := i.Copy(filepath.Join(bin, p[0]), p[1]); err != nil {
			return err
		}
	}
	for _, name := range vm.Tests() {
		if err := i.Copy(filepath.Join(bin, name+".test"), "/bin/"+name+".test"); err != nil {
			return err
		}
	}
	i.Link("/init", "/bin/guest")
	i.Put("/etc/passwd", 0o644, []byte("root:x:0:0:root:/root:/bin/sh\nsshd:x:74:74:sshd:/var/empty:/bin/false\nops:x:1000:1000:ops:/tmp:/bin/sh\n"))
	i.Put("/etc/group", 0o644, []byte("root:x:0:\nsshd:x:74:\nops:x:1000:\n"))
	if err := packSudo(ctx, &i); err != nil {
		return err
	}
	i.Put("/etc/nsswitch.conf", 0o644, []byte("passwd: files\ngroup: files\nhosts: files\n"))
	if err := i.Modules(ctx, kernel,
		"ip_vs", "ip_vs_rr", "ip_vs_wrr", "ip_vs_lc", "ip_vs_wlc", "ip_vs_lblc", "ip_vs_lblcr", "ip_vs_dh", "ip_vs_sh",
		"ip_vs_sed", "ip_vs_nq", "ip_vs_fo", "ip_vs_ovf", "ip_vs_mh", "ip_vs_pe_sip", "ip_vs_ftp",
		"ipip", "veth", "bridge", "dummy", "sch_netem", "crc32c_generic", "libcrc32c"); err != nil {
		return err
	}
	f, err := os.Create(to)
	if err != nil {
		return err
	}
	if _, err := i.WriteTo(f); err != nil {
		_ = f.Close()
		return err
	}
	return f.Close()
}
