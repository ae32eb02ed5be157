package election

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"sync"
	"time"

	"berth/internal/journal"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
)

// ErrHistory ends a term because etcd does not go on from where it was: its data
// were replaced by a backup or wiped, or another cluster answers in its place. A
// lease or a key of the former history does not count in this one.
var ErrHistory = errors.New("etcd's history is not the one that was seen before")

// Past is what a member has seen of the history of its etcd cluster. A process that
// is given the past of the one before it notices a break that happened between the
// two.
type Past struct {
	Cluster  uint64 `json:"cluster"`        // id of the cluster, 0 if nothing is known
	Revision int64  `json:"revision"`       // the highest that was seen
	Longest  int64  `json:"longest_lease"`  // the longest time to live of a lease in use, in seconds
	Mark     Mark   `json:"mark,omitempty"` // a change that the history must contain
}

// Mark is one change of a key. A history that was put back can have come to higher
// revisions than were seen before; at the revision of the mark it then has another
// change.
type Mark struct {
	Key      string `json:"key,omitempty"`
	Revision int64  `json:"revision,omitempty"` // of the change
	Sum      string `json:"sum,omitempty"`      // SHA-256 of the value, in hex
}

func sum(value []byte) string {
	s := sha256.Sum256(value)
	return hex.EncodeToString(s[:])
}

// history compares the answers of etcd with what was seen before. A time between two
// breaks is an era, counted from 0. It is safe for concurrent use.
type history struct {
	suspected chan struct{} // one slot: an answer makes a comparison necessary

	mu      sync.Mutex
	journal *journal.Journal
	strays  *journal.Condition // some endpoints are those of another cluster
	prefix  string
	era     int
	past    Past      // Longest is the observer's
	checked bool      // the past of a former process was compared
	broke   time.Time // when the era began, zero for the first
	over    chan struct{}
	stood   time.Time // when the known cluster last gave a linearizable answer
	rounds  int       // comparisons of all endpoints that are due because another cluster has answered
}

func newHistory() *history {
	h := &history{suspected: make(chan struct{}, 1), over: make(chan struct{})}
	h.begin("", Past{}, journal.New(nil))
	return h
}

// begin takes what a former process has seen. Call it before anything is asked.
func (h *history) begin(prefix string, past Past, j *journal.Journal) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.prefix, h.past, h.journal, h.strays, h.checked, h.stood = prefix, past, j, j.Condition(), past.Cluster == 0, time.Now()
}

// moment is what was known when a request was sent.
type moment struct {
	era      int
	revision int64
}

func (h *history) now() moment {
	h.mu.Lock()
	defer h.mu.Unlock()
	return moment{h.era, h.past.Revision}
}

// current returns the era, a channel that is closed at its end, and when it began;
// that is zero for the first.
func (h *history) current() (era int, over <-chan struct{}, broke time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.era, h.over, h.broke
}

// ended returns a channel that is closed when an era is over.
func (h *history) ended(era int) <-chan struct{} {
	h.mu.Lock()
	defer h.mu.Unlock()
	if era != h.era {
		closed := make(chan struct{})
		close(closed)
		return closed
	}
	return h.over
}

// seen returns what is known, without Longest.
func (h *history) seen() Past {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.past
}

// unchecked reports whether the past of a former process is still to be compared.
func (h *history) unchecked() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return !h.checked
}

// remember makes the newest change that was read in an era the mark.
func (h *history) remember(era int, kv *mvccpb.KeyValue) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if era == h.era && kv.ModRevision > h.past.Mark.Revision {
		h.past.Mark = Mark{string(kv.Key), kv.ModRevision, sum(kv.Value)}
	}
}

// suspect has the member compare the history. It never blocks.
func (h *history) suspect() {
	select {
	case h.suspected <- struct{}{}:
	default:
	}
}

// otherCluster says that an answer came from another cluster than the one that was
// seen before. Nothing in the answer may be used.
type otherCluster struct{ got, want uint64 }

// Error names both clusters as etcdctl does.
func (o *otherCluster) Error() string {
	return fmt.Sprintf("answers for cluster %x, not for %x, which was seen before", o.got, o.want)
}

// compare compares the header of an answer with what was known when the request was
// sent, and returns an error if the answer must not be used.
//
// Only a linearizable answer proves that a history went back: others carry the
// revision of the member that answers, which may lag behind. Another cluster proves
// nothing, because a proxy can lead to it.
func (h *history) compare(sent moment, cluster uint64, revision int64, linearizable bool) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case cluster == 0: // no header
	case sent.era != h.era:
		return ErrHistory
	case h.past.Cluster == 0:
		if linearizable {
			h.past.Cluster, h.past.Revision = cluster, revision
		}
	case cluster != h.past.Cluster:
		h.rounds = strayRounds
		h.suspect()
		return &otherCluster{cluster, h.past.Cluster}
	case revision < sent.revision && linearizable:
		h.end(cluster, revision, fmt.Errorf("its revision is %d, after %d was seen", revision, sent.revision))
		return ErrHistory
	case revision < sent.revision:
		h.suspect()
	default:
		if linearizable {
			h.stood = time.Now()
		}
		h.past.Revision = max(h.past.Revision, revision)
	}
	return nil
}

// breaks ends an era, if that has not happened yet. The next begins with nothing
// known but the cluster.
func (h *history) breaks(era int, reason error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if era == h.era {
		h.end(h.past.Cluster, 0, reason)
	}
}

// end is called with the lock held.
func (h *history) end(cluster uint64, revision int64, reason error) {
	h.era++
	h.past = Past{Cluster: cluster, Revision: revision}
	h.broke, h.stood, h.rounds, h.checked = time.Now(), time.Now(), 0, true
	close(h.over)
	h.over = make(chan struct{})
	h.journal.Tell(etcdHistoryBroken, zap.NamedError("reason", reason))
}

// check makes one linearizable read and compares it with what was seen, the mark
// included. A break that it finds is an error that matches ErrHistory.
func (h *history) check(ctx context.Context, c *clientv3.Client) error {
	sent, m := h.now(), h.seen().Mark
	for {
		if m.Key != "" {
			r, err := c.Get(ctx, m.Key, clientv3.WithRev(m.Revision))
			switch {
			case err == nil && (len(r.Kvs) != 1 || r.Kvs[0].ModRevision != m.Revision || sum(r.Kvs[0].Value) != m.Sum):
				h.breaks(sent.era, fmt.Errorf("its change of revision %d is another than was seen before", m.Revision))
				return ErrHistory
			case errors.Is(err, rpctypes.ErrCompacted): // etcd does not have the change any more
				m = Mark{}
			case errors.Is(err, rpctypes.ErrFutureRev):
			default:
				h.pass(sent.era, err)
				return err
			}
		}
		// A refusal tells neither the cluster nor its revision. A member of etcd that had
		// not come to the mark and has meanwhile is asked again.
		if _, err := c.Get(ctx, h.prefix); err != nil || m.Key == "" {
			h.pass(sent.era, err)
			return err
		}
	}
}

// pass notes that a linearizable read agrees with what was seen, if it has not failed.
func (h *history) pass(era int, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if err == nil && era == h.era {
		h.checked = true
	}
}

// compareInterval is the least time between two comparisons. An etcd whose members lag
// behind each other is not asked more often.
const compareInterval = time.Second

// compareAgain is how often endpoints of another cluster are asked whether they still
// are.
const compareAgain = 10 * time.Second

// strayRounds is how often all endpoints are asked to find the one that has answered
// for another cluster.
const strayRounds = 10

// watchHistory compares the history whenever an answer makes it necessary, until ctx
// ends.
func (m *Member) watchHistory(ctx context.Context) {
	h := m.Etcd.history
	defer h.strays.Drop()
	for {
		var again <-chan time.Time
		if h.strays.Holds() {
			again = time.After(compareAgain)
		}
		select {
		case <-ctx.Done():
			return
		case <-h.suspected:
		case <-again:
		}
		h.mu.Lock()
		strayed := h.strays.Holds() || h.rounds > 0
		h.mu.Unlock()
		if strayed {
			m.compareClusters(ctx)
		} else {
			checking, cancel := context.WithTimeout(ctx, requestTime)
			_, err := call(checking, m.Etcd, func(ctx context.Context, c *clientv3.Client) (struct{}, error) {
				return struct{}{}, h.check(ctx, c)
			})
			cancel()
			if err != nil {
				m.Journal.Debug("cannot compare etcd's history", zap.Error(err))
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(compareInterval):
		}
	}
}
