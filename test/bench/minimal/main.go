// Command minimal is compared with berth's speed: a minimal Go program that does the
// same. `minimal URL TOKEN BODY` sends one PATCH and ends;
// `minimal URL TOKEN BODY FIFO` sends one for each line it reads.
package main

import (
	"bufio"
	"io"
	"net/http"
	"os"
	"strings"
)

func main() {
	url, token, body := os.Args[1], os.Args[2], os.Args[3]
	if len(os.Args) < 5 {
		patch(url, token, body)
		return
	}
	f, err := os.OpenFile(os.Args[4], os.O_RDWR, 0)
	if err != nil {
		os.Exit(1)
	}
	for lines := bufio.NewScanner(f); lines.Scan(); {
		patch(url, token, body)
	}
}

func patch(url, token, body string) {
	req, err := http.NewRequest(http.MethodPatch, url, strings.NewReader(body))
	if err != nil {
		os.Exit(1)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		os.Exit(1)
	}
	_, _ = io.Copy(io.Discard, resp.Body)
	resp.Body.Close()
}
