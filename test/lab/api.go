package lab

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"
)

// API is the provider's API and metadata service on the router.
type API struct {
	lab *Lab

	mu      sync.Mutex
	before  func(*http.Request)
	servers []*http.Server
	serving sync.WaitGroup
}

// Before sets a function that is called with each request before the request has any
// effect, by several goroutines at once.
func (a *API) Before(f func(*http.Request)) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.before = f
}

// ServeHTTP answers as the simulator does.
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	before := a.before
	a.mu.Unlock()
	if before != nil {
		before(r)
	}
	a.lab.Sim.ServeHTTP(w, r)
}

// Up serves; if it does already, Up does nothing.
func (a *API) Up() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.servers) > 0 {
		return nil
	}
	addresses := []string{apiAddr, metadataAddr + ":80"}
	if a.lab.tls != nil {
		addresses = append(addresses, exoscaleAddr)
	}
	for _, address := range addresses {
		var listener net.Listener
		if err := a.lab.Router.Do(func() (err error) {
			listener, err = net.Listen("tcp4", address)
			return err
		}); err != nil {
			return fmt.Errorf("serve API: %w", err)
		}
		if address == exoscaleAddr {
			listener = tls.NewListener(listener, a.lab.tls)
		}
		s := &http.Server{Handler: a, ReadHeaderTimeout: 10 * time.Second}
		a.servers = append(a.servers, s)
		a.serving.Go(func() { s.Serve(listener) }) // ends with Close in Down
	}
	return nil
}

// Down closes all connections and refuses new ones.
func (a *API) Down() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	var errs []error
	for _, s := range a.servers {
		errs = append(errs, s.Close())
	}
	a.servers = nil
	a.serving.Wait()
	return errors.Join(errs...)
}
