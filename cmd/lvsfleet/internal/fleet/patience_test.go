package fleet

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/lvsfleet/lvsfleet/agent"
	"github.com/lvsfleet/lvsfleet/inventory"
	"github.com/lvsfleet/lvsfleet/providers/host"
)

// A mute session stands, and answers nothing from the given method on.
type mute struct {
	agent.Session
	at   string
	once sync.Once
	cut  chan struct{}
}

func (m *mute) Cut() { m.once.Do(func() { close(m.cut) }) }

func (m *mute) silent(method string) error {
	if m.at != method {
		return nil
	}
	<-m.cut
	return fmt.Errorf("%w: the line was cut", host.ErrLost)
}

func (m *mute) Check(ctx context.Context, req agent.Request) (agent.Report, error) {
	if err := m.silent("check"); err != nil {
		return agent.Report{}, err
	}
	return m.Session.Check(ctx, req)
}

func (m *mute) Apply(ctx context.Context, progress func(agent.Event)) error {
	if err := m.silent("apply"); err != nil {
		return err
	}
	return m.Session.Apply(ctx, progress)
}

// A host whose line stands and that answers nothing does not hold the others.
func TestAHostThatAnswersNothingIsGivenUp(t *testing.T) {
	for _, at := range []string{"check", "apply"} {
		s := scenes()[0]
		w := s.town(t)
		f := s.fleet(w)
		f.patience = 50 * time.Millisecond
		f.SkipUnreachable = true
		f.Site.Rollout.MaxFailures = 9
		dial := f.Dial
		first := true
		f.Dial = func(ctx context.Context, h *inventory.Host) (agent.Session, error) {
			session, err := dial(ctx, h)
			if err != nil || h.Name != "rs2" || !first {
				return session, err
			}
			first = false
			return &mute{Session: session, at: at, cut: make(chan struct{})}, nil
		}
		ended := make(chan Outcome)
		go func() {
			out, err := f.Converge(context.Background(), nil)
			if err != nil {
				t.Errorf("%s: %v", at, err)
			}
			ended <- out
		}()
		select {
		case out := <-ended:
			got := statuses(out)
			if got["rs2"] == Changed || got["rs1"] != Changed || got["rs3"] != Changed || got["rs4"] != Changed {
				t.Errorf("%s: %v: %v", at, got, result(out, "rs2").Err)
			}
		case <-time.After(30 * time.Second):
			t.Fatalf("%s: the run waits for a host that answers nothing", at)
		}
	}
}
