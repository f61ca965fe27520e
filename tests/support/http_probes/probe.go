// go run probe.go URL KEY EVENT_FILE LINES_FILE: sends one event, then lines, in each form of net/http.
package main

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"
)

func main() {
	for _, form := range []string{"default", "expect", "chunked"} {
		client := &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{ExpectContinueTimeout: 15 * time.Second}}
		for at, mediaType := range []string{"application/cloudevents+json", "application/x-ndjson"} {
			content, err := os.ReadFile(os.Args[3+at])
			check(err)
			var body io.Reader = bytes.NewReader(content)
			if form == "chunked" {
				body = io.MultiReader(body)
			}
			request, err := http.NewRequest("POST", os.Args[1], body)
			check(err)
			request.Header.Set("Authorization", "Bearer "+os.Args[2])
			request.Header.Set("Content-Type", mediaType)
			if form == "expect" {
				request.Header.Set("Expect", "100-continue")
			}
			answer, err := client.Do(request)
			check(err)
			text, err := io.ReadAll(answer.Body)
			check(err)
			answer.Body.Close()
			fmt.Println(form, answer.StatusCode, bytes.Count(text, []byte(`"status":"accepted"`)))
		}
	}
}

func check(err error) {
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
}
