// The story with Go's net/http: steps BASE IDLE_SECONDS
package main

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"time"
)

func ask(client *http.Client, step string, url string, size int) {
	var got *http.Response
	var err error
	if size > 0 {
		got, err = client.Post(url, "text/plain", bytes.NewReader(bytes.Repeat([]byte("u"), size)))
	} else {
		got, err = client.Get(url)
	}
	if err != nil {
		fmt.Println(step, "error", err)
		return
	}
	defer got.Body.Close()
	body, err := io.ReadAll(got.Body)
	if err != nil {
		fmt.Println(step, "error", err)
		return
	}
	fmt.Printf("%s %d %d %x\n", step, got.StatusCode, len(body), sha256.Sum256(body))
}

func main() {
	seconds, _ := strconv.ParseFloat(os.Args[2], 64)
	client := &http.Client{Timeout: 40 * time.Second}
	sizes := map[string]int{"post": 300000, "refused": 3000000}
	for _, step := range []string{"kept", "again", "post", "refused", "closed"} {
		ask(client, step, os.Args[1]+"/"+step, sizes[step])
		if step == "kept" || step == "closed" {
			time.Sleep(time.Duration(seconds * float64(time.Second)))
		}
	}
}
