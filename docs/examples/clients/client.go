// Send detainer events, one JSON CloudEvent per line, and read the receipts while sending. Go 1.21, no modules.
//
//	go build client.go && ./client [FILE]     # without FILE: standard input, which may be endless
//
// DDOR_INGEST_URL is the address of ingest, DDOR_AGENCY_KEY the agency's key. Exit code 0: every event was accepted.
// 1: some were rejected; standard output lists each with line, code and detail. 2: the client stopped before the end of
// the input; standard error gives the reason.
package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const (
	lines       = 10_000            // per request at most: events without a receipt are in memory
	idle        = time.Second       // without a new event, the request ends; ingest would end it after 300 seconds
	stall       = 330 * time.Second // without a receipt, the connection is closed; ingest is never that slow
	firstWait   = time.Second / 2   // before a retry
	longestWait = 30 * time.Second
)

var retryableStatuses = []int{408, 429, 500, 502, 503, 504}
var retryableErrors = []string{"too-many-events", "too-slow", "receipts-not-read"} // on the last line of a stream

type event struct {
	number  int    // line number in the input
	text    []byte // unchanged: ingest validates these bytes
	settled bool   // has a final receipt, accepted or rejected
}

// message is a line of the response: a receipt, the summary, or the error that ended the stream.
type message struct {
	Line                 int
	Status, Code, Detail string
	Summary              *struct{}
	Error                *struct{ Code, Detail string }
}

// retryError: some events have no final receipt yet. after is the value of Retry-After, or 0.
type retryError struct {
	reason string
	after  time.Duration
}

func (e retryError) Error() string { return e.reason }

type client struct {
	url, key           string
	newEvents          chan *event
	waiting            []*event // without a final receipt; sent before new events
	inputEnded         bool
	accepted, rejected int
}

// run sends until every event has a final receipt. It returns the exit code.
func (c *client) run(source io.Reader) int {
	go c.read(source)
	wait := firstWait
	for c.more(-1) {
		settled := c.accepted + c.rejected
		err := c.post()
		if err == nil {
			continue
		}
		if c.accepted+c.rejected > settled {
			wait = firstWait // there was progress
		}
		// Random, so that disconnected clients do not all return at the same time.
		pause := wait/2 + time.Duration(rand.Int63n(int64(wait/2)))
		if again, ok := err.(retryError); ok {
			pause = max(pause, again.after)
		}
		wait = min(2*wait, longestWait)
		fmt.Fprintf(os.Stderr, "again in %.1f s: %v\n", pause.Seconds(), err)
		time.Sleep(pause)
	}
	fmt.Printf("accepted %d, rejected %d\n", c.accepted, c.rejected)
	return min(c.rejected, 1)
}

func (c *client) read(source io.Reader) {
	reader := bufio.NewReader(source)
	for number := 1; ; number++ {
		line, err := reader.ReadBytes('\n')
		if text := bytes.Trim(line, " \t\r\n"); len(text) > 0 {
			c.newEvents <- &event{number: number, text: text}
		}
		if err == io.EOF {
			close(c.newEvents)
			return
		} else if err != nil {
			stop("the input cannot be read: " + err.Error()) // not the end
		}
	}
}

// more reports whether there is an event to send. It waits up to patience (-1: without limit) for a new one.
func (c *client) more(patience time.Duration) bool {
	if len(c.waiting) == 0 && !c.inputEnded {
		var timeout <-chan time.Time // never
		if patience >= 0 {
			timeout = time.After(patience)
		}
		select {
		case one, ok := <-c.newEvents:
			if c.inputEnded = !ok; ok {
				c.waiting = append(c.waiting, one)
			}
		case <-timeout:
		}
	}
	return len(c.waiting) > 0
}

// exchange is a request and its response, which are sent and read at the same time.
type exchange struct {
	mutex  sync.Mutex
	sent   []*event    // line n is sent[n - 1]
	closed atomic.Bool // send no more
}

func (e *exchange) unsettled() []*event {
	e.mutex.Lock()
	defer e.mutex.Unlock()
	return slices.DeleteFunc(slices.Clone(e.sent), func(one *event) bool { return one.settled })
}

// post makes one request: a second goroutine sends, this one reads receipts. The next request resends unsettled events.
func (c *client) post() error {
	body, pipe := io.Pipe()
	now, ended := &exchange{}, make(chan struct{})
	go func() {
		c.send(pipe, now)
		close(ended)
	}()
	ctx, cancel := context.WithCancel(context.Background())
	defer func() {
		now.closed.Store(true)
		cancel()
		body.Close() // also ends a blocked sender
		<-ended
		c.waiting = append(now.unsettled(), c.waiting...)
	}()
	stalled := time.AfterFunc(stall, cancel)
	defer stalled.Stop()
	post, err := http.NewRequestWithContext(ctx, "POST", c.url+"/v1/events", body)
	if err != nil {
		stop(err.Error())
	}
	post.Header.Set("Authorization", "Bearer "+c.key)
	post.Header.Set("Content-Type", "application/x-ndjson")
	response, err := http.DefaultClient.Do(post) // returns after the response headers, while the body is being sent
	if err != nil {
		return err
	}
	defer response.Body.Close()
	return c.receive(response, now, stalled)
}

// send sends waiting events, then new ones, until the request must end.
func (c *client) send(pipe *io.PipeWriter, now *exchange) {
	defer pipe.Close()
	for !now.closed.Load() && len(now.sent) < lines && c.more(idle) {
		one := c.waiting[0]
		c.waiting = c.waiting[1:]
		now.mutex.Lock()
		now.sent = append(now.sent, one) // before it is sent: its receipt may arrive at once
		now.mutex.Unlock()
		if _, err := pipe.Write(append(one.text, '\n')); err != nil {
			return // receive finds the reason
		}
	}
}

// receive reads receipts until every event of the request has a final one. It returns retryError if one is missing.
func (c *client) receive(response *http.Response, now *exchange, stalled *time.Timer) error {
	if response.StatusCode != 207 {
		reason := fmt.Sprintf("%d %s", response.StatusCode, problem(response.Body))
		if !slices.Contains(retryableStatuses, response.StatusCode) {
			stop(reason)
		}
		seconds, _ := strconv.Atoi(response.Header.Get("Retry-After"))
		return retryError{reason, time.Duration(seconds) * time.Second}
	}
	for decoder := json.NewDecoder(response.Body); ; stalled.Reset(stall) {
		var one message
		if decoder.Decode(&one) != nil {
			return retryError{reason: "the response was cut off"}
		}
		switch {
		case one.Line > 0:
			now.mutex.Lock()
			sent := now.sent[one.Line-1]
			now.mutex.Unlock()
			c.settle(one, sent, now)
		case one.Error != nil:
			reason := fmt.Sprintf("ingest ended the stream, %s: %s", one.Error.Code, one.Error.Detail)
			if !slices.Contains(retryableErrors, one.Error.Code) {
				stop(reason)
			}
			return retryError{reason: reason}
		case one.Summary != nil:
			if missing := now.unsettled(); len(missing) > 0 {
				return retryError{reason: fmt.Sprintf("%d events are not known to be stored", len(missing))}
			}
			return nil
		}
	}
}

func (c *client) settle(receipt message, sent *event, now *exchange) {
	switch receipt.Status {
	case "accepted":
		c.accepted++
	case "rejected":
		c.rejected++
		fmt.Printf("line %d: %s: %s\n", sent.number, receipt.Code, receipt.Detail)
	default:
		now.closed.Store(true) // unavailable: end the request, wait, and send again
	}
	sent.settled = receipt.Status != "unavailable"
}

// problem returns code and detail of a problem (RFC 9457); a proxy's response may have neither.
func problem(body io.Reader) string {
	var one struct{ Code, Detail string }
	if json.NewDecoder(body).Decode(&one) != nil || one.Code == "" {
		return "no reason given; check that DDOR_INGEST_URL is the address of ingest"
	}
	return one.Code + ": " + one.Detail
}

func stop(reason string) {
	fmt.Fprintln(os.Stderr, "stopped: "+reason)
	os.Exit(2)
}

func main() {
	url, key := os.Getenv("DDOR_INGEST_URL"), os.Getenv("DDOR_AGENCY_KEY")
	if url == "" || key == "" {
		stop("DDOR_INGEST_URL and DDOR_AGENCY_KEY must be set")
	}
	source := os.Stdin
	if len(os.Args) > 1 {
		file, err := os.Open(os.Args[1])
		if err != nil {
			stop("the input cannot be read: " + err.Error())
		}
		source = file
	}
	one := &client{url: strings.TrimRight(url, "/"), key: key, newEvents: make(chan *event, 1_000)}
	os.Exit(one.run(source))
}
