// Command etcdserver is the etcd server of the client library that berth is
// built with, for the tests that otherwise run against the distribution's etcd.
// It takes etcd's own --config-file and nothing else. It lies in a module of its
// own so that the server's many dependencies do not become berth's.
package main

import (
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"go.etcd.io/etcd/server/v3/embed"
)

func main() {
	file := flag.String("config-file", "", "configuration `file`, as etcd's")
	flag.Parse()
	if err := serve(*file); err != nil {
		fmt.Fprintln(os.Stderr, "etcdserver:", err)
		os.Exit(1)
	}
}

// serve runs a member until SIGTERM or SIGINT.
func serve(file string) error {
	config, err := embed.ConfigFromFile(file)
	if err != nil {
		return fmt.Errorf("read %s: %w", file, err)
	}
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM, syscall.SIGINT)
	member, err := embed.StartEtcd(config)
	if err != nil {
		return fmt.Errorf("start etcd: %w", err)
	}
	defer member.Close()
	select {
	case err := <-member.Err():
		return fmt.Errorf("serve: %w", err)
	case <-stop:
		return nil
	}
}
