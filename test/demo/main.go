// Command demo shows berth at work: two hosts with keepalived and berth in a
// miniature cloud, a client that sends a request every 10 ms, and one fault
// after the other. The command prints events as they happen, draws them into a page,
// and ends with one line that says whether every step succeeded.
//
// It needs keepalived, and root or a kernel that gives users user namespaces.
// Nothing outside its own namespaces is touched.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"berth/internal/testnet"
	"berth/test/lab"
)

func main() {
	binary := flag.String("berth", "", "`path` of the berth to show; empty: build it")
	page := flag.String("report", "demo-report.html", "`path` of the page to write")
	flag.Parse()

	if exit, ran, err := testnet.Unprivileged(); ran {
		if err != nil {
			fmt.Printf("demo: FAILED: %v\n", err)
		}
		os.Exit(exit)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	result, err := run(ctx, *binary, *page)
	stop()
	if err != nil {
		// One line, whatever the errors joined in it.
		fmt.Println("demo: FAILED:", strings.ReplaceAll(err.Error(), "\n", "; "))
		os.Exit(1)
	}
	fmt.Println("demo: ok,", result)
}

// run checks the machine, plays the demo and writes the page. The result is the
// figures for the last line.
func run(ctx context.Context, binary, page string) (result string, err error) {
	if err := testnet.Available(lab.Programs...); err != nil {
		return "", err
	}
	if binary == "" {
		dir, err := os.MkdirTemp("", "berth-demo-")
		if err != nil {
			return "", err
		}
		defer os.RemoveAll(dir)
		binary = filepath.Join(dir, "berth")
		if out, err := exec.CommandContext(ctx, "go", "build", "-o", binary, "berth").CombinedOutput(); err != nil {
			return "", fmt.Errorf("build berth: %w: %s", err, out)
		}
	}
	l, err := lab.New(lab.Options{Binary: binary})
	if err != nil {
		return "", err
	}
	d := newDemo(l, os.Stdout)
	err = d.play(ctx)
	err = errors.Join(err, l.Close())
	// The page is written after a failure too, and shows where it happened.
	if writeErr := d.write(page, err); writeErr != nil {
		return "", errors.Join(err, writeErr)
	}
	fmt.Printf("\nThe picture of it all is in %s\n", page)
	return fmt.Sprintf("%d takeovers, longest client outage %d ms", d.takeovers(), d.longest().Milliseconds()), err
}
