package keepalivedconf_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// TestReadsRandomFilesLikeKeepalived writes configurations at random, most of
// them odd, and compares our reading of each with that of the installed
// keepalived. The test shrinks a difference to few lines, which then belong in
// testdata under a name of their own.
//
// make versions tries 2000 files with the keepalived of each distribution, BERTH_SOAK=1
// tries 20,000 instead of 200. BERTH_SEED=N starts at another seed, for example to try
// one file again.
func TestReadsRandomFilesLikeKeepalived(t *testing.T) {
	all := needDaemons(t)
	count, first := 200, uint64(1)
	switch {
	case os.Getenv("BERTH_SOAK") == "1":
		count, first = 20000, 1_000_000
	case os.Getenv(versionsVariable) != "":
		count = 2000
	}
	for name, number := range map[string]func(uint64){"BERTH_SEED": func(n uint64) { first = n }, "BERTH_RANDOM": func(n uint64) { count = int(n) }} {
		if text := os.Getenv(name); text != "" {
			n, err := strconv.ParseUint(text, 10, 32)
			if err != nil {
				t.Fatalf("read %s: %v", name, err)
			}
			number(n)
		}
	}
	for _, d := range all {
		t.Run(d.Version, func(t *testing.T) { compareRandom(t, d, first, count) })
	}
}

// shownDifferences bounds how many differences are shrunk and shown.
const shownDifferences = 5

func compareRandom(t *testing.T, d daemon, first uint64, count int) {
	var (
		differences, unclear atomic.Int64
		wg                   sync.WaitGroup
	)
	seeds := make(chan uint64)
	for range cap(askers) {
		wg.Go(func() {
			dir := t.TempDir()
			for seed := range seeds {
				s := randomSample(seed)
				c, err := s.compare(dir, d)
				if err != nil {
					c.result = differs
				}
				compared.count(d.Version, "random", c.result)
				switch {
				case c.result == undefined || c.result == survived:
					unclear.Add(1)
				case c.result != differs:
				case differences.Add(1) > shownDifferences:
				case err != nil:
					t.Errorf("seed %d: %v\n%s", seed, err, s)
				default:
					small := s.shrink(func(s sample) bool {
						c, err := s.compare(dir, d)
						return err == nil && c.result == differs
					})
					c, _ := small.compare(dir, d)
					t.Errorf("seed %d: keepalived %s (-) and we (+) read this differently:\n%s\n%s", seed, d.Version, small, c.diff)
				}
			}
		})
	}
	for n := range count {
		seeds <- first + uint64(n)
	}
	close(seeds)
	wg.Wait()
	if n := differences.Load(); n > shownDifferences {
		t.Errorf("%d of %d files differ", n, count)
	}
	if n := unclear.Load(); n > int64(count)/4 {
		t.Errorf("%d of %d files end in undefined behaviour of keepalived, so that they test nothing", n, count)
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

// compare writes the files and compares the two readings.
func (s sample) compare(dir string, d daemon) (comparison, error) {
	main := filepath.Join(dir, "main.conf")
	for n, lines := range s {
		path := main
		if n > 0 {
			path = filepath.Join(dir, "f"+strconv.Itoa(n))
		}
		if err := os.WriteFile(path, []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
			return comparison{}, err
		}
	}
	return compare(main, d)
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
