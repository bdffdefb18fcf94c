// Package sshconfig reads ssh_config(5) as OpenSSH's client reads it, as far as
// it says how to reach a host: Host and Match blocks, Include, tokens, and that
// the first value of an option counts. It never runs anything.
//
// No published Go library does that: those that there are know no Match, or
// refuse a whole file for one. The reference is OpenSSH's readconf.c.
package sshconfig

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Bounds on what is read: bytes of all files together, files, and how deep an
// Include may lead (READCONF_MAX_DEPTH of readconf.c).
const (
	maxSize  = 4 << 20
	maxFiles = 1000
	maxDepth = 16
)

// Files reads files. An error that is fs.ErrNotExist is no file.
type Files interface {
	ReadFile(name string) ([]byte, error)
	// Glob lists the files that match, sorted; none is no error.
	Glob(pattern string) ([]string, error)
}

// A Config is the configuration of one person. It may be asked from several
// goroutines.
type Config struct {
	files   []*file // the user's, then the system's
	Local   Local
	unknown []string // lines that were not understood
}

// Local is what tokens and conditions need to know of this machine.
type Local struct {
	User string            // who runs this program: %u, and the user where none is named
	Home string            // %d, and "~"
	UID  int               // %i
	Host string            // this machine's name, as gethostname(2): %l; up to its first dot: %L
	Env  map[string]string // for ${NAME} in paths
}

// A file is one file, with those that it includes in their places.
type file struct {
	lines []line
}

type line struct {
	at      string // "/home/a/.ssh/config line 3"
	keyword string // in lower case
	args    []string
	include []*file // of an Include
}

// Settings are what holds for one host. "", 0 and nil are options that are not
// set.
type Settings struct {
	HostName         string
	User             string
	Port             int
	IdentityFiles    []string // "none" is none at all
	IdentitiesOnly   bool
	IdentityAgent    string // a path, "none", "SSH_AUTH_SOCK"
	CertificateFiles []string
	// ProxyJump are the hosts that lead to this one, the first first, as they are
	// written: [user@]host[:port]. Beside it ProxyCommand is "".
	ProxyJump    []string
	ProxyCommand string // with its tokens

	UserKnownHosts   []string
	GlobalKnownHosts []string
	HostKeyAlias     string

	// Lists of algorithms as they are written: "a,b", "+a", "-a", "^a".
	HostKeyAlgorithms, KexAlgorithms, Ciphers, MACs, PubkeyAcceptedAlgorithms string

	ConnectTimeout time.Duration
	// Unsupported names options that change what the host is reached by and are
	// not honoured.
	Unsupported []string
}

// A Source is a file, and the folder in which relative names of its Include are
// looked for: ~/.ssh of a person's own file, wherever that lies, /etc/ssh of the
// system's.
type Source struct{ Name, Dir string }

// Read reads the files in their order: the user's, then the system's. One that
// is not there is passed over.
func Read(files Files, local Local, sources ...Source) (*Config, error) {
	r := &reader{files: files, local: local}
	c := &Config{Local: local}
	for _, src := range sources {
		f, err := r.read(src.Name, src.Dir, 0)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		c.files = append(c.files, f)
	}
	c.unknown = r.unknown
	return c, nil
}

// Warnings are lines that were not understood, each with its place.
func (c *Config) Warnings() []string { return slices.Clone(c.unknown) }

type reader struct {
	files   Files
	local   Local
	size    int
	count   int
	unknown []string
}

func (r *reader) read(name, dir string, depth int) (*file, error) {
	if depth > maxDepth {
		return nil, fmt.Errorf("read %s: files include each other more than %d deep", name, maxDepth)
	}
	if r.count++; r.count > maxFiles {
		return nil, fmt.Errorf("read %s: more than %d files are included", name, maxFiles)
	}
	text, err := r.files.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	if r.size += len(text); r.size > maxSize {
		return nil, fmt.Errorf("read %s: with what it includes it is larger than %d MiB", name, maxSize>>20)
	}
	f := &file{}
	n := 0
	for raw := range strings.Lines(string(text)) {
		n++
		at := fmt.Sprintf("%s line %d", name, n)
		words, err := split(raw)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", at, err)
		}
		if len(words) == 0 {
			continue
		}
		l := line{at: at, keyword: strings.ToLower(words[0]), args: words[1:]}
		switch {
		case l.keyword == "include":
			if l.include, err = r.include(l, dir, depth); err != nil {
				return nil, err
			}
		case !known(l.keyword):
			r.unknown = append(r.unknown, fmt.Sprintf("%s: %q is no option that is known", at, words[0]))
			continue
		case len(l.args) == 0:
			return nil, fmt.Errorf("%s: %s has no value", at, words[0])
		}
		f.lines = append(f.lines, l)
	}
	return f, nil
}

func (r *reader) include(l line, dir string, depth int) ([]*file, error) {
	var list []*file
	for _, arg := range l.args {
		pattern := arg
		if rest, ok := strings.CutPrefix(arg, "~/"); ok {
			pattern = filepath.Join(r.local.Home, rest)
		}
		if !filepath.IsAbs(pattern) {
			pattern = filepath.Join(dir, pattern)
		}
		names, err := r.files.Glob(pattern)
		if err != nil {
			return nil, fmt.Errorf("%s: include %s: %w", l.at, arg, err)
		}
		for _, name := range names {
			f, err := r.read(name, dir, depth+1)
			if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
				continue
			}
			if err != nil {
				return nil, fmt.Errorf("%s: %w", l.at, err)
			}
			list = append(list, f)
		}
	}
	return list, nil
}

// split gives the words of a line: an optional "=" stands between the keyword
// and its values, double quotes hold blanks together, "#" begins a comment
// (argv_split of OpenSSH's misc.c).
func split(raw string) ([]string, error) {
	text := strings.Trim(raw, " \t\r\n\f")
	if text == "" || text[0] == '#' {
		return nil, nil
	}
	end := strings.IndexAny(text, " \t=")
	if end < 0 {
		return []string{text}, nil
	}
	words := []string{text[:end]}
	rest := strings.TrimLeft(text[end:], " \t")
	rest = strings.TrimLeft(strings.TrimPrefix(rest, "="), " \t")
	// These take the rest of the line as it is.
	switch strings.ToLower(words[0]) {
	case "proxycommand", "localcommand", "remotecommand", "knownhostscommand":
		if rest == "" {
			return words, nil
		}
		return append(words, rest), nil
	}
	var b strings.Builder
	in := byte(0)
	has := false
	for i := 0; i < len(rest); i++ {
		c := rest[i]
		switch {
		case c == '\\' && i+1 < len(rest) && (rest[i+1] == '"' || rest[i+1] == '\'' || rest[i+1] == '\\' || in == 0 && rest[i+1] == ' '):
			i++
			b.WriteByte(rest[i])
			has = true
		case in != 0 && c == in:
			in = 0
		case in != 0:
			b.WriteByte(c)
		case c == '"' || c == '\'':
			in, has = c, true
		case c == ' ' || c == '\t':
			if has {
				words = append(words, b.String())
				b.Reset()
				has = false
			}
		case c == '#' && !has:
			return words, nil
		default:
			b.WriteByte(c)
			has = true
		}
	}
	if in != 0 {
		return nil, errors.New("a quotation mark is not closed")
	}
	if has {
		words = append(words, b.String())
	}
	return words, nil
}

// A query is one pass over the files.
type query struct {
	c        *Config
	original string // as it was asked for
	user     string // that was asked for; "" none
	final    bool
	s        *Settings
	wants    bool // a `Match final` was met
	seen     map[string]bool
	err      error
}

// Lookup gives what holds for a host: as ssh(1) is given its name, and, where
// user is not "", with -l user.
func (c *Config) Lookup(host, user string) (Settings, error) {
	s := Settings{User: user}
	q := &query{c: c, original: host, user: user, s: &s, seen: map[string]bool{}}
	q.pass()
	if q.wants && q.err == nil {
		q.resolveHostName()
		q.final = true
		q.pass()
	}
	if q.err != nil {
		return Settings{}, q.err
	}
	q.resolveHostName()
	if s.HostName == "" {
		s.HostName = host
	}
	slices.Sort(s.Unsupported)
	s.Unsupported = slices.Compact(s.Unsupported)
	if len(s.ProxyJump) == 1 && strings.EqualFold(s.ProxyJump[0], "none") {
		s.ProxyJump = nil
	}
	if strings.EqualFold(s.ProxyCommand, "none") {
		s.ProxyCommand = ""
	}
	return s, q.expandPaths()
}

func (q *query) pass() {
	for _, f := range q.c.files {
		q.file(f, true)
	}
}

// file goes through the lines of f, which count from its beginning only where
// active.
func (q *query) file(f *file, active bool) {
	outer := active
	for i := range f.lines {
		l := &f.lines[i]
		switch l.keyword {
		case "host":
			active = outer && matchList(q.original, l.args)
		case "match":
			active = q.match(l) && outer
		case "include":
			for _, in := range l.include {
				q.file(in, active)
			}
		default:
			if active {
				q.set(l)
			}
		}
		if q.err != nil {
			return
		}
	}
}

func (q *query) fail(l *line, format string, args ...any) {
	if q.err == nil {
		q.err = fmt.Errorf("%s: %s", l.at, fmt.Sprintf(format, args...))
	}
}

// host is what `Match host` is asked of: the name in force.
func (q *query) host() string {
	if q.s.HostName != "" {
		return strings.NewReplacer("%%", "%", "%h", q.original).Replace(q.s.HostName)
	}
	return q.original
}

// match judges the conditions of a Match line. All must hold; they are all
// read, so that a condition that is not one is found wherever it stands.
func (q *query) match(l *line) bool {
	result := true
	args := l.args
	for n := 0; len(args) > 0; n++ {
		word := args[0]
		args = args[1:]
		not := strings.HasPrefix(word, "!")
		name, value, joined := strings.Cut(strings.TrimPrefix(word, "!"), "=")
		name = strings.ToLower(name)
		holds := false
		switch name {
		case "all":
			if not || len(args) > 0 || n > 1 {
				q.fail(l, "`all` stands alone, or after canonical or final")
			}
			holds = true
		case "canonical", "final":
			// Without CanonicalizeHostname both hold in the second pass, and only
			// final asks for one.
			q.wants = q.wants || name == "final"
			holds = q.final
		default:
			if !joined {
				if len(args) == 0 {
					q.fail(l, "%s has no value", word)
					return false
				}
				value, args = args[0], args[1:]
			}
			list := strings.Split(value, ",")
			switch name {
			case "host":
				holds = matchHost(q.host(), list)
			case "originalhost":
				holds = matchHost(q.original, list)
			case "user":
				user := q.s.User
				if user == "" {
					user = q.c.Local.User
				}
				holds = matchList(user, list)
			case "localuser":
				holds = matchList(q.c.Local.User, list)
			case "tagged", "version", "command", "sessiontype":
				// None is given to this client.
				holds = name == "command" && value == "" || matchList("", list)
			case "exec", "localnetwork":
				q.s.Unsupported = append(q.s.Unsupported, "Match "+name)
				holds = not // as if it did not hold
			default:
				q.fail(l, "%q is no condition of Match", word)
			}
		}
		if holds == not {
			result = false
		}
	}
	return result
}

// matchHost is matchList of the name of a host in a Match, whose patterns may be
// written in capitals (match_hostname); those of a Host may not.
func matchHost(text string, patterns []string) bool {
	lower := make([]string, len(patterns))
	for i, p := range patterns {
		lower[i] = strings.ToLower(p)
	}
	return matchList(text, lower)
}

// matchList says whether the text fits a list of patterns, of which one that
// begins with "!" shuts out (match_pattern_list).
func matchList(text string, patterns []string) bool {
	found := false
	for _, p := range patterns {
		p, not := strings.CutPrefix(p, "!")
		if !glob(p, text) {
			continue
		}
		if not {
			return false
		}
		found = true
	}
	return found
}

// glob matches "*" and "?" (match_pattern), in time linear in both for each
// star.
func glob(p, s string) bool {
	star, mark := -1, 0
	i, j := 0, 0
	for j < len(s) {
		switch {
		case i < len(p) && p[i] == '*':
			star, mark = i, j
			i++
		case i < len(p) && (p[i] == '?' || p[i] == s[j]):
			i++
			j++
		case star >= 0:
			mark++
			i, j = star+1, mark
		default:
			return false
		}
	}
	for i < len(p) && p[i] == '*' {
		i++
	}
	return i == len(p)
}

// set takes an option, where it is the first of its name.
func (q *query) set(l *line) {
	s, v := q.s, l.args[0]
	first := func(to *string) {
		if *to == "" {
			*to = v
		}
	}
	list := func(to *[]string) {
		if *to == nil {
			*to = slices.Clone(l.args)
		}
	}
	switch l.keyword {
	case "hostname":
		first(&s.HostName)
	case "user":
		first(&s.User)
	case "port":
		n, err := strconv.Atoi(v)
		if err != nil || n < 1 || n > 65535 {
			q.fail(l, "port %q is none", v)
		} else if s.Port == 0 {
			s.Port = n
		}
	case "identityfile":
		if len(s.IdentityFiles) < 100 && !(q.final && slices.Contains(s.IdentityFiles, v)) && !slices.Contains(s.IdentityFiles, v) {
			s.IdentityFiles = append(s.IdentityFiles, v)
		}
	case "certificatefile":
		if len(s.CertificateFiles) < 100 && !slices.Contains(s.CertificateFiles, v) {
			s.CertificateFiles = append(s.CertificateFiles, v)
		}
	case "identitiesonly":
		q.flag(l, &s.IdentitiesOnly)
	case "identityagent":
		first(&s.IdentityAgent)
	case "hostkeyalias":
		first(&s.HostKeyAlias)
	case "userknownhostsfile":
		list(&s.UserKnownHosts)
	case "globalknownhostsfile":
		list(&s.GlobalKnownHosts)
	case "hostkeyalgorithms":
		first(&s.HostKeyAlgorithms)
	case "kexalgorithms":
		first(&s.KexAlgorithms)
	case "ciphers":
		first(&s.Ciphers)
	case "macs":
		first(&s.MACs)
	case "pubkeyacceptedalgorithms", "pubkeyacceptedkeytypes":
		first(&s.PubkeyAcceptedAlgorithms)
	case "connecttimeout":
		n, err := parseTime(v)
		if err != nil {
			q.fail(l, "%v", err)
		} else if s.ConnectTimeout == 0 {
			s.ConnectTimeout = n
		}
	case "proxyjump":
		if s.ProxyJump != nil || s.ProxyCommand != "" {
			return
		}
		jumps, err := parseJumps(v)
		if err != nil {
			q.fail(l, "%v", err)
			return
		}
		s.ProxyJump = jumps
	case "proxycommand":
		if s.ProxyJump == nil {
			first(&s.ProxyCommand)
		}
	case "proxyusefdpass", "canonicalizehostname":
		if q.once(l.keyword) && !strings.EqualFold(v, "no") && !strings.EqualFold(v, "none") {
			s.Unsupported = append(s.Unsupported, title(l.keyword))
		}
	case "preferredauthentications":
		if q.once(l.keyword) && !strings.Contains(strings.ToLower(v), "publickey") {
			s.Unsupported = append(s.Unsupported, "PreferredAuthentications without publickey")
		}
	case "pubkeyauthentication":
		if q.once(l.keyword) && strings.EqualFold(v, "no") {
			s.Unsupported = append(s.Unsupported, "PubkeyAuthentication no")
		}
	case "pkcs11provider", "securitykeyprovider", "bindaddress", "bindinterface", "knownhostscommand":
		if q.once(l.keyword) && !strings.EqualFold(v, "none") && !strings.EqualFold(v, "internal") {
			s.Unsupported = append(s.Unsupported, title(l.keyword))
		}
	}
}

// once says whether the option is met for the first time.
func (q *query) once(keyword string) bool {
	seen := q.seen[keyword]
	q.seen[keyword] = true
	return !seen
}

func (q *query) flag(l *line, to *bool) {
	if !q.once(l.keyword) {
		return
	}
	switch strings.ToLower(l.args[0]) {
	case "yes", "true":
		*to = true
	case "no", "false":
		*to = false
	default:
		q.fail(l, "%s is yes or no, not %q", title(l.keyword), l.args[0])
	}
}

// parseTime reads seconds, or a time with units as sshd_config(5) has them; 0 is
// "none".
func parseTime(v string) (time.Duration, error) {
	if strings.EqualFold(v, "none") {
		return 0, nil
	}
	var total, n time.Duration
	digits := false
	for _, c := range strings.ToLower(v) {
		unit := time.Duration(0)
		switch c {
		case 's':
			unit = time.Second
		case 'm':
			unit = time.Minute
		case 'h':
			unit = time.Hour
		case 'd':
			unit = 24 * time.Hour
		case 'w':
			unit = 7 * 24 * time.Hour
		}
		switch {
		case c >= '0' && c <= '9' && n < 1<<24:
			n, digits = 10*n+time.Duration(c-'0'), true
		case unit != 0 && digits:
			total, n, digits = total+n*unit, 0, false
		default:
			return 0, fmt.Errorf("%q is no time", v)
		}
	}
	if digits {
		total += n * time.Second
	} else if total == 0 {
		return 0, fmt.Errorf("%q is no time", v)
	}
	return total, nil
}

// MaxJumps is how many hosts may lead to another one.
const MaxJumps = 16

// parseJumps reads the hosts of a ProxyJump.
func parseJumps(v string) ([]string, error) {
	if strings.EqualFold(v, "none") {
		return []string{"none"}, nil
	}
	list := strings.Split(v, ",")
	if len(list) > MaxJumps {
		return nil, fmt.Errorf("more than %d jump hosts", MaxJumps)
	}
	for _, j := range list {
		if _, _, _, err := ParseJump(j); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// ParseJump reads [user@]host[:port], or ssh://[user@]host[:port]. user and port
// are "" and 0 where they are not said.
func ParseJump(v string) (user, host string, port int, err error) {
	rest, uri := strings.CutPrefix(v, "ssh://")
	if uri {
		rest = strings.TrimSuffix(rest, "/")
	}
	if i := strings.LastIndex(rest, "@"); i >= 0 {
		if user, rest = rest[:i], rest[i+1:]; user == "" {
			return "", "", 0, fmt.Errorf("jump host %q: there is nothing before the @", v)
		}
	}
	host = rest
	after := ""
	if inner, ok := strings.CutPrefix(rest, "["); ok {
		if host, after, ok = strings.Cut(inner, "]"); !ok {
			return "", "", 0, fmt.Errorf("jump host %q: the bracket is not closed", v)
		}
	} else if strings.Count(rest, ":") == 1 {
		var p string
		host, p, _ = strings.Cut(rest, ":")
		after = ":" + p
	}
	if after != "" {
		p, ok := strings.CutPrefix(after, ":")
		if port, err = strconv.Atoi(p); !ok || err != nil || port < 1 || port > 65535 {
			return "", "", 0, fmt.Errorf("jump host %q: %q is no port", v, strings.TrimPrefix(after, ":"))
		}
	}
	if host == "" || strings.HasPrefix(host, "-") || strings.ContainsAny(host, " \t/\\'\"`$;&|<>(){}") {
		return "", "", 0, fmt.Errorf("jump host %q: %q is no name of a host", v, host)
	}
	return user, host, port, nil
}

func (q *query) resolveHostName() { q.s.HostName = q.host() }

// Tokens are the values that a path or a command may name.
type tokens map[byte]string

func (q *query) tokens() tokens {
	s := q.s
	user := s.User
	if user == "" {
		user = q.c.Local.User
	}
	port := s.Port
	if port == 0 {
		port = 22
	}
	alias := s.HostKeyAlias
	if alias == "" {
		alias = q.original
	}
	short, _, _ := strings.Cut(q.c.Local.Host, ".")
	return tokens{
		'%': "%", 'h': s.HostName, 'n': q.original, 'p': strconv.Itoa(port), 'r': user, 'u': q.c.Local.User,
		'd': q.c.Local.Home, 'i': strconv.Itoa(q.c.Local.UID), 'l': q.c.Local.Host, 'L': short, 'k': alias,
	}
}

// expand puts values in for tokens.
func (t tokens) expand(s string, fits func(string) bool) (string, error) {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '%' {
			b.WriteByte(s[i])
			continue
		}
		if i++; i == len(s) {
			return "", fmt.Errorf("%q ends with a %%", s)
		}
		v, ok := t[s[i]]
		if !ok {
			return "", fmt.Errorf("%%%c in %q is not known here", s[i], s)
		}
		if fits != nil && s[i] != '%' && !fits(v) {
			return "", fmt.Errorf("%%%c in %q would be %q, which a shell could take for more than a name", s[i], s, v)
		}
		b.WriteString(v)
	}
	return b.String(), nil
}

// Command gives the settings' ProxyCommand with its tokens for the host as it
// was asked for. A value that a shell could take for more than a name is
// refused.
func (c *Config) Command(s Settings, original string) (string, error) {
	q := &query{c: c, original: original, s: &s}
	return q.tokens().expand(s.ProxyCommand, plain)
}

// plain says that a shell takes the text for a word, and no program takes it for
// an option.
func plain(s string) bool {
	for _, c := range []byte(s) {
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && !strings.ContainsRune("._:-", rune(c)) {
			return false
		}
	}
	return s != "" && s[0] != '-'
}

// expandPaths puts in the values of the paths of the settings.
func (q *query) expandPaths() error {
	t := q.tokens()
	one := func(p *string) error {
		switch *p {
		case "", "none", "SSH_AUTH_SOCK":
			return nil
		}
		if name, ok := strings.CutPrefix(*p, "$"); ok && !strings.HasPrefix(name, "{") {
			*p = q.c.Local.Env[name] // IdentityAgent $NAME
			return nil
		}
		v, err := q.environment(*p)
		if err != nil {
			return err
		}
		if rest, ok := strings.CutPrefix(v, "~/"); ok {
			v = path.Join(q.c.Local.Home, rest)
		}
		*p, err = t.expand(v, nil)
		return err
	}
	for _, list := range [][]string{q.s.IdentityFiles, q.s.CertificateFiles, q.s.UserKnownHosts, q.s.GlobalKnownHosts} {
		for i := range list {
			if err := one(&list[i]); err != nil {
				return err
			}
		}
	}
	return errors.Join(one(&q.s.IdentityAgent), one2(t, &q.s.HostKeyAlias))
}

func one2(t tokens, p *string) error {
	v, err := t.expand(*p, nil)
	*p = v
	return err
}

// environment puts in the values of ${NAME}.
func (q *query) environment(s string) (string, error) {
	var b strings.Builder
	for {
		before, rest, ok := strings.Cut(s, "${")
		b.WriteString(before)
		if !ok {
			return b.String(), nil
		}
		name, after, ok := strings.Cut(rest, "}")
		if !ok {
			return "", fmt.Errorf("${ in %q is not closed", s)
		}
		v, ok := q.c.Local.Env[name]
		if !ok {
			return "", fmt.Errorf("the environment has no %s, which %q names", name, s)
		}
		b.WriteString(v)
		s = after
	}
}
