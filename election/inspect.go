package election

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// Answer is what came of a request to one endpoint.
type Answer struct {
	Endpoint string
	Err      error
	Took     time.Duration
}

// Ask sends every endpoint a read that only a majority of the cluster can
// answer, all at once, and returns the answers in the order of the endpoints. It
// changes nothing.
func (e *Etcd) Ask(ctx context.Context, prefix string) []Answer {
	answers := make([]Answer, len(e.endpoints))
	var asked sync.WaitGroup
	for i, url := range e.options.Endpoints {
		asked.Go(func() {
			e.await(ctx, i)
			ctx, cancel := context.WithTimeout(ctx, requestTime)
			defer cancel()
			a, begun := Answer{Endpoint: url}, time.Now()
			c, err := e.client(i)
			if err == nil {
				_, err = c.Get(ctx, prefix, clientv3.WithPrefix(), clientv3.WithCountOnly())
			}
			a.Err, a.Took = err, time.Since(begun)
			answers[i] = a
		})
	}
	asked.Wait()
	return answers
}

// Owner is the member that owns an instance.
type Owner struct {
	Member string
	// Doubled says that another host takes part under the same name.
	Doubled bool
}

// Owners returns the members that own the instances below a prefix, and those at the
// places of instances, as in Member.
func (e *Etcd) Owners(ctx context.Context, prefix string, places map[string]string) (map[string]Owner, error) {
	keys := keyspace{prefix: prefix, places: places}
	queues := map[string][]entry{}
	for _, below := range append(slices.Sorted(maps.Values(places)), prefix+electionsDir) {
		r, err := call(ctx, e, func(ctx context.Context, c *clientv3.Client) (*clientv3.GetResponse, error) {
			return c.Get(ctx, below, clientv3.WithPrefix(), clientv3.WithSort(clientv3.SortByCreateRevision, clientv3.SortDescend))
		})
		if err != nil {
			return nil, fmt.Errorf("read the elections below %s: %w", below, err)
		}
		for _, kv := range r.Kvs { // the owner comes last
			if _, r, rest := keys.parse(string(kv.Key)); r.name != "" && rest != "" && kv.Lease != 0 {
				queues[r.name] = append(queues[r.name], entry{candidacy: readCandidacy(kv.Value)})
			}
		}
	}
	owners := map[string]Owner{}
	for instance, queue := range queues {
		owner := queue[len(queue)-1].Member
		// A key that a reboot or a clone left behind ends with its lease.
		lasting := slices.DeleteFunc(queue, func(e entry) bool { return time.Since(e.Since) <= time.Duration(e.TTL)*time.Second })
		owners[instance] = Owner{owner, doubled(lasting, owner)}
	}
	return owners, nil
}
