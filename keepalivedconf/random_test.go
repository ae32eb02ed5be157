package keepalivedconf_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// TestReadsRandomFilesLikeKeepalived writes configurations at random, most of
// them odd, and compares our reading of each with that of the installed
// keepalived. The test shrinks a difference to few lines, which then belong in
// testdata under a name of their own.
//
// BERTH_SOAK=1 tries 20,000 files instead of 200. BERTH_SEED=N starts at
// another seed, for example to try one file again.
func TestReadsRandomFilesLikeKeepalived(t *testing.T) {
	version := needKeepalived(t)
	count, first := 200, uint64(1)
	if os.Getenv("BERTH_SOAK") == "1" {
		count, first = 20000, 1_000_000
	}
	if text := os.Getenv("BERTH_SEED"); text != "" {
		n, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			t.Fatalf("read BERTH_SEED: %v", err)
		}
		first = n
	}
	const differencesLimit = 5
	var (
		mu          sync.Mutex
		differences int
		undefined   int
		wg          sync.WaitGroup
	)
	seeds := make(chan uint64)
	for range cap(askers) {
		wg.Go(func() {
			dir := t.TempDir()
			for seed := range seeds {
				s := randomSample(seed)
				diff, err := s.difference(dir, version)
				if errors.Is(err, errUndefined) {
					mu.Lock()
					undefined++
					mu.Unlock()
					continue
				}
				if err == nil && diff == "" {
					continue
				}
				mu.Lock()
				differences++
				stop := differences > differencesLimit
				mu.Unlock()
				switch {
				case stop:
				case err != nil:
					t.Errorf("seed %d: %v\n%s", seed, err, s)
				default:
					small := s.shrink(func(c sample) bool {
						d, err := c.difference(dir, version)
						return err == nil && d != ""
					})
					diff, _ := small.difference(dir, version)
					t.Errorf("seed %d: keepalived (-) and we (+) read this differently:\n%s\n%s", seed, small, diff)
				}
			}
		})
	}
	for n := range count {
		mu.Lock()
		stop := differences > differencesLimit
		mu.Unlock()
		if stop {
			break
		}
		seeds <- first + uint64(n)
	}
	close(seeds)
	wg.Wait()
	if undefined > count/10 {
		t.Errorf("%d of %d files end in undefined behaviour of keepalived, so that they test nothing", undefined, count)
	}
}

// sample is a configuration: the lines of the main file and of the files
// that it may include, which are named f1, f2 and so on.
type sample [][]string

func (s sample) String() string {
	var b strings.Builder
	for n, lines := range s {
		if n > 0 {
			fmt.Fprintf(&b, "---- f%d\n", n)
		}
		for _, line := range lines {
			fmt.Fprintf(&b, "%q\n", line)
		}
	}
	return b.String()
}

// difference writes the files and compares the two readings.
func (s sample) difference(dir, version string) (string, error) {
	main := filepath.Join(dir, "main.conf")
	for n, lines := range s {
		path := main
		if n > 0 {
			path = filepath.Join(dir, "f"+strconv.Itoa(n))
		}
		if err := os.WriteFile(path, []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
			return "", err
		}
	}
	return difference(main, version)
}

// shrink takes away lines, then words, as long as the difference stays.
func (s sample) shrink(differs func(sample) bool) sample {
	budget := 400
	try := func(c sample) bool {
		if budget--; budget < 0 {
			return false
		}
		return differs(c)
	}
	replace := func(n int, lines []string) sample {
		c := append(sample(nil), s...)
		c[n] = lines
		return c
	}
	for n := range s {
		for size := len(s[n]); size > 0; {
			removed := false
			for at := 0; at+size <= len(s[n]); {
				lines := append(append([]string(nil), s[n][:at]...), s[n][at+size:]...)
				if c := replace(n, lines); try(c) {
					s, removed = c, true
				} else {
					at++
				}
			}
			if !removed || size > len(s[n]) {
				size /= 2
			}
		}
	}
	for n := range s {
		for at := range s[n] {
			for word := 0; ; {
				words := strings.Split(s[n][at], " ")
				if word >= len(words) {
					break
				}
				lines := append([]string(nil), s[n]...)
				lines[at] = strings.Join(append(append([]string(nil), words[:word]...), words[word+1:]...), " ")
				if c := replace(n, lines); len(words) > 1 && try(c) {
					s = c
				} else {
					word++
				}
			}
		}
	}
	return s
}
