// Package remote reaches hosts over SSH: it dials, checks host keys, starts
// the agent, pushing it where the host does not have it, and offers hosts on
// which no agent can run as a host.Host of their own.
package remote

import (
	"context"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/lvsfleet/lvsfleet/agent"
	"github.com/lvsfleet/lvsfleet/agent/remote/sshconfig"
	"github.com/lvsfleet/lvsfleet/inventory"
)

// A Target says how to reach a host. The zero value of a field is its default.
type Target struct {
	Name    string       // the host's, in the inventory
	OS      inventory.OS // where its state folder lies follows from it
	Release string       // what `uname -r` says there, as the inventory claims; "" unsaid
	Address string       // address or name
	Port    int          // 22
	User    string       // "root"

	// IdentityFiles are private keys; "~/" is the home of who runs lvsfleet.
	// None: the SSH agent's, then ~/.ssh/id_*.
	IdentityFiles []string
	// KnownHosts are files of host keys; none: ~/.ssh/known_hosts and
	// /etc/ssh/ssh_known_hosts, or what ssh_config says. The first is the one
	// that a new key goes into.
	KnownHosts []string
	// Jumps are the hosts that lead to this one, the first first; nil: what
	// ssh_config says, else none. An empty list that is not nil is none.
	Jumps []Target
	// Config is what ssh_config says of this host, and of the jumps that it names;
	// nil: nothing. What the target says itself wins.
	Config *sshconfig.Config
	// LegacyAlgorithms adds what only old servers speak, with a warning.
	LegacyAlgorithms bool
	ConnectTimeout   time.Duration // for everything up to the login; 10 s

	Agent  *bool  // false: agentless; nil and true: by what the host is
	Local  bool   // connection = "local": this machine, no SSH
	Become string // "sudo", "doas", "pfexec": how User becomes root; "" User is root
}

// A Memory remembers across runs which agent a host has. It is asked and told
// from several goroutines.
type Memory interface {
	// AgentOf gives the hash of the agent that the host was left with, or
	// Agentless; "" unknown.
	AgentOf(host string) string
	SetAgentOf(host, hash string)
}

// Agentless is what a Memory remembers of a host that cannot run an agent.
const Agentless = "agentless"

// A Dialer opens sessions. Its fields are set before it is used; it may be used
// from several goroutines, and is best kept for a whole run: keys are read, and
// passphrases asked for, once.
type Dialer struct {
	Agents Agents        // nil: those that this build carries
	Memory Memory        // nil: nothing is remembered
	Plan   agent.Planner // nil: providers.Plan; for what runs in this process
	// Warn is told what an operator should know of a host. nil: nobody is.
	Warn func(host, message string)
	// Passphrase asks a person for the passphrase of a key file; nil: nobody
	// can be asked. Calls do not overlap.
	Passphrase func(file string) ([]byte, error)
	// Password asks a person for the password of user, which the tool ("sudo")
	// wants on the hosts that are named: those get it if they ask, and no others.
	// nil: nobody can be asked. Calls do not overlap.
	Password func(tool, user string, hosts []string) ([]byte, error)
	// Together gives the targets for whose users one question may be asked: those
	// that become root by the same tool from a login of the same name. nil: each
	// host has a question of its own.
	Together func() []Target
	// AuthSock is the SSH agent's socket, as SSH_AUTH_SOCK names it; "" none.
	AuthSock string
	Home     string // "": of who runs lvsfleet
	// Self is the program that is its own guard (agent.IsGuard) on the machine
	// that it runs on; "": a local host has no guard.
	Self string
	// Renew is asked whether the run still makes progress on a host before its
	// guard is told so (agent.Client.RenewWhile); nil: it does, for as long as
	// this process lives.
	Renew func(host string) bool

	state state
}

// Dial opens a session with the host.
func (d *Dialer) Dial(ctx context.Context, t Target) (agent.Session, error) { return d.dial(ctx, t) }

// Client opens an SSH connection, for uses other than a session.
func (d *Dialer) Client(ctx context.Context, t Target) (*ssh.Client, error) { return d.connect(ctx, t) }
