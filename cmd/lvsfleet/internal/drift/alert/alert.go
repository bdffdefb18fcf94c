// Package alert tells receivers what a watcher has found: an HTTP endpoint, an
// Alertmanager, a command. Each has a queue and a pace of its own, so that one
// that is dead delays nobody.
package alert

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/lvsfleet/lvsfleet/cmd/lvsfleet/internal/drift"
	"github.com/lvsfleet/lvsfleet/inventory"
)

// A Teller passes the notices of a watcher on. Its methods are safe for
// concurrent use.
type Teller struct {
	spool  string
	client *http.Client
	pace   pace

	mu        sync.Mutex
	closed    bool
	receivers []*receiver
	waiting   map[string][]drift.Notice // of earlier processes, by receiver
	problem   string                    // of the spool
	work      sync.WaitGroup
}

// The pace of receivers.
type pace struct {
	first, most time.Duration // between two tries of what is not taken
	refresh     time.Duration // an Alertmanager is told again what is there
	hold        time.Duration // and believes it for as long
	limit       time.Duration // of one delivery
}

// New makes a Teller without receivers. What is not delivered when it is closed
// is kept in the file spool, for the next process; "" it is lost. Once says
// that nobody will refresh what an Alertmanager was told before the next run.
func New(spool string, once bool) *Teller {
	p := pace{first: time.Second, most: 5 * time.Minute, refresh: 5 * time.Minute, hold: 20 * time.Minute, limit: 20 * time.Second}
	if once {
		p.hold = 24 * time.Hour
	}
	return newTeller(spool, p)
}

func newTeller(spool string, p pace) *Teller {
	t := &Teller{spool: spool, pace: p, client: &http.Client{}, waiting: map[string][]drift.Notice{}}
	if err := t.load(); err != nil {
		t.problem = "alerts of an earlier process are lost: " + err.Error()
	}
	return t
}

// Use replaces the receivers. One that stays keeps what it has not taken yet.
func (t *Teller) Use(alerts []inventory.Alert) {
	t.mu.Lock()
	defer t.mu.Unlock()
	var keep []*receiver
	for i, a := range alerts {
		id := idOf(a)
		at := slices.IndexFunc(t.receivers, func(r *receiver) bool { return r.id == id })
		if at >= 0 {
			keep = append(keep, t.receivers[at])
			t.receivers = slices.Delete(t.receivers, at, at+1)
			continue
		}
		r := &receiver{
			t: t, id: id, name: nameOf(i, a), alert: a,
			queue: t.waiting[id], wake: make(chan struct{}, 1), quit: make(chan struct{}),
		}
		delete(t.waiting, id)
		keep = append(keep, r)
		t.work.Go(r.run)
	}
	for _, r := range t.receivers {
		close(r.quit)
	}
	t.receivers = keep
}

// idOf tells receivers apart; it gives nothing of them away.
func idOf(a inventory.Alert) string {
	text, _ := json.Marshal(a) // plain data
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:16])
}

// nameOf is a receiver's for people, without what may be secret in its URL.
func nameOf(i int, a inventory.Alert) string {
	name := fmt.Sprintf("alert %d (%s", i+1, a.Kind)
	if u, err := url.Parse(a.URL); err == nil && u.Host != "" {
		name += " " + u.Host
	} else if len(a.Argv) > 0 {
		name += " " + a.Argv[0]
	}
	return name + ")"
}

// Tell takes a notice and returns at once.
func (t *Teller) Tell(n drift.Notice) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return
	}
	for _, r := range t.receivers {
		r.take(n)
	}
}

// Problems are the receivers that do not take what they are told.
func (t *Teller) Problems() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	var list []string
	if t.problem != "" {
		list = append(list, t.problem)
	}
	for _, r := range t.receivers {
		if p := r.problem(); p != "" {
			list = append(list, p)
		}
	}
	return list
}

// Waiting is how many notices were not taken yet.
func (t *Teller) Waiting() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := 0
	for _, r := range t.receivers {
		r.mu.Lock()
		n += len(r.queue)
		r.mu.Unlock()
	}
	return n
}

// Close lets every receiver take what waits until ctx ends or one try fails,
// and keeps the rest for the next process.
func (t *Teller) Close(ctx context.Context) error {
	t.mu.Lock()
	t.closed = true
	receivers := slices.Clone(t.receivers)
	t.mu.Unlock()
	for _, r := range receivers {
		r.finish(ctx)
	}
	done := make(chan struct{})
	go func() {
		t.work.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-ctx.Done():
		for _, r := range receivers {
			r.abandon()
		}
		<-done
	}
	return t.save(receivers)
}

// load reads the spool.
func (t *Teller) load() error {
	if t.spool == "" {
		return nil
	}
	text, err := os.ReadFile(t.spool)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := json.Unmarshal(text, &t.waiting); err != nil {
		return fmt.Errorf("read %s: %w", t.spool, err)
	}
	return nil
}

// save writes the spool, or removes it where nothing waits. What waits for a
// receiver that is not in use any more is dropped.
func (t *Teller) save(receivers []*receiver) error {
	if t.spool == "" {
		return nil
	}
	waiting := map[string][]drift.Notice{}
	for _, r := range receivers {
		r.mu.Lock()
		for _, n := range r.queue {
			if !n.Empty() {
				waiting[r.id] = append(waiting[r.id], n)
			}
		}
		r.mu.Unlock()
	}
	if len(waiting) == 0 {
		if err := os.Remove(t.spool); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("keep what was not delivered: %w", err)
		}
		return nil
	}
	text, err := json.Marshal(waiting)
	if err != nil {
		return fmt.Errorf("keep what was not delivered: %w", err)
	}
	tmp, err := os.CreateTemp(filepath.Dir(t.spool), "alerts-*.tmp") // mode 0600
	if err != nil {
		return fmt.Errorf("keep what was not delivered: %w", err)
	}
	_, err = tmp.Write(text)
	if err = errors.Join(err, tmp.Close()); err == nil {
		err = os.Rename(tmp.Name(), t.spool)
	}
	if err != nil {
		_ = os.Remove(tmp.Name())
		return fmt.Errorf("keep what was not delivered: %w", err)
	}
	return nil
}

// mostWaiting bounds a queue: notices, and drifts in them.
const (
	mostWaiting = 1000
	mostDrifts  = 20_000
)

// A receiver is one of them, with what it has not taken yet.
type receiver struct {
	t     *Teller
	id    string
	name  string
	alert inventory.Alert
	wake  chan struct{}
	quit  chan struct{} // closed where it is not in use any more

	mu      sync.Mutex
	queue   []drift.Notice
	sending bool         // the first of the queue is on its way
	state   drift.Notice // Open and Held, the latest: what an Alertmanager is reminded of
	stated  bool
	dropped int
	since   time.Time // it takes nothing since then; zero: it does
	err     error
	last    context.Context    // ends with the time that is left; nil: it goes on
	cancel  context.CancelFunc // of the delivery that is under way
}

// take puts n into the queue.
func (r *receiver) take(n drift.Notice) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.state = drift.Notice{Site: n.Site, Time: n.Time, Open: n.Open, Held: n.Held}
	news := !n.Empty()
	// An Alertmanager must know all that is there, and after a restart of this
	// process it may not.
	if first := !r.stated; first && r.alert.Kind == "alertmanager" && len(n.Open)+len(n.Held) > 0 {
		news = true
	}
	r.stated = true
	if !news {
		return
	}
	r.queue = append(r.queue, n)
	for len(r.queue) > mostWaiting || weight(r.queue) > mostDrifts && len(r.queue) > 1 {
		at := 0
		if r.sending {
			at = 1
		}
		r.queue = slices.Delete(r.queue, at, at+1)
		r.dropped++
	}
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

func weight(queue []drift.Notice) int {
	n := 0
	for _, q := range queue {
		n += len(q.Firing) + len(q.Resolved)
	}
	return n
}

func (r *receiver) problem() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var parts []string
	if r.err != nil {
		parts = append(parts, fmt.Sprintf("nothing was taken since %s: %v", r.since.Local().Format(time.DateTime), r.err))
	}
	if r.dropped > 0 {
		parts = append(parts, fmt.Sprintf("%d notices were dropped", r.dropped))
	}
	if len(parts) == 0 {
		return ""
	}
	return r.name + ": " + strings.Join(parts, "; ")
}

// finish has the receiver end once its queue is empty, a try fails, or ctx
// ends.
func (r *receiver) finish(ctx context.Context) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.last = ctx
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// abandon ends a delivery that is under way.
func (r *receiver) abandon() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.cancel != nil {
		r.cancel()
	}
}

// run delivers until it is told to end.
func (r *receiver) run() {
	refresh := time.NewTicker(r.t.pace.refresh)
	defer refresh.Stop()
	wait, not := time.Duration(0), time.Time{}
	for {
		remind, ok := r.await(not, refresh.C)
		if !ok {
			return
		}
		if err := r.deliver(remind); err == nil {
			wait, not = 0, time.Time{}
			continue
		}
		if r.ending() {
			return
		}
		wait = min(max(2*wait, r.t.pace.first), r.t.pace.most)
		not = time.Now().Add(wait + rand.N(wait/4+1))
	}
}

// await waits until there is something to deliver, but not before then, or an
// Alertmanager is to be reminded; false where it is to end.
func (r *receiver) await(not time.Time, refresh <-chan time.Time) (remind, ok bool) {
	for {
		idle, delay := r.idle(), time.Until(not)
		select {
		case <-r.quit:
			return false, false
		default:
		}
		switch {
		case r.ending():
			return false, !idle
		case !idle && delay <= 0:
			return false, true
		}
		timer := time.NewTimer(max(delay, 0))
		again := timer.C
		if idle {
			again = nil
		}
		select {
		case <-r.quit:
		case <-again:
		case <-r.wake:
		case <-refresh:
			if delay <= 0 {
				timer.Stop()
				return true, true
			}
		}
		timer.Stop()
	}
}

func (r *receiver) idle() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.queue) == 0
}

func (r *receiver) ending() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.last != nil
}

// deliver sends the first of the queue; an Alertmanager takes all of it at once,
// and what is there where it is reminded.
func (r *receiver) deliver(remind bool) error {
	r.mu.Lock()
	n := min(1, len(r.queue))
	var news drift.Notice
	if n > 0 {
		news = r.queue[0]
	}
	if r.alert.Kind == "alertmanager" {
		n = len(r.queue)
		news = r.state
		news.Open, news.Held = slices.Clip(news.Open), slices.Clip(news.Held)
		for _, q := range r.queue {
			news.Resolved = append(news.Resolved, q.Resolved...)
			news.Resumed = append(news.Resumed, q.Resumed...)
			if !r.stated { // of an earlier process
				news.Site, news.Time = q.Site, q.Time
				news.Open = append(news.Open, q.Firing...)
				news.Held = append(news.Held, q.GivenUp...)
			}
		}
		if n == 0 && (!remind || len(news.Open)+len(news.Held) == 0) {
			r.mu.Unlock()
			return nil
		}
	} else if n == 0 {
		r.mu.Unlock()
		return nil
	}
	parent := r.last
	if parent == nil {
		parent = context.Background()
	}
	ctx, cancel := context.WithTimeout(parent, r.t.pace.limit)
	defer cancel()
	r.sending, r.cancel = n > 0, cancel
	r.mu.Unlock()

	var err error
	switch r.alert.Kind {
	case "webhook":
		err = r.webhook(ctx, news)
	case "alertmanager":
		err = r.alertmanager(ctx, news)
	case "command":
		err = r.command(ctx, news)
	default:
		err = fmt.Errorf("a receiver of the unknown kind %q", r.alert.Kind)
	}

	r.mu.Lock()
	defer r.mu.Unlock()
	r.sending, r.cancel = false, nil
	if err != nil {
		if r.err == nil {
			r.since = time.Now()
		}
		r.err = err
		return err
	}
	r.err = nil
	// What was dropped meanwhile was not among the first.
	r.queue = slices.Delete(r.queue, 0, min(n, len(r.queue)))
	return nil
}
