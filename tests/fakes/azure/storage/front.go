package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Front is what a client speaks to: it checks, fails where it was told to, and hands the rest to the emulator.
type Front struct {
	emulator *Emulator
	account  *Account
	listener net.Listener
	client   *http.Client

	mutex     sync.Mutex
	faults    []*Fault
	counts    map[string]int // of requests, by "PUT page", "PUT", "GET list" and so on
	sizes     map[string]int64
	rangesMax int
	held      []func() // requests that have not arrived yet
}

// Fault is what befalls requests that match. The first one in the list that matches is used.
type Fault struct {
	Method string `json:"method"` // empty: any
	Comp   string `json:"comp"`   // of the query; empty: any, "-": none
	Count  int    `json:"count"`  // how many requests
	Skip   int    `json:"skip"`   // how many that match go through before
	// What happens:
	//   status      answers with `status`, `code` and Retry-After, and does nothing
	//   cut_before  ends the connection, and does nothing
	//   cut_after   does it, and ends the connection before the reply
	//   late_status does it, and answers with `status`
	//   take_lease  breaks the lease of the blob and takes it for another, and then does it
	//   corrupt     changes a byte of the content on its way
	//   hold        ends the connection, and does it when it is told to release what is held
	//   slow        does it `milliseconds` later
	Kind         string `json:"kind"`
	Status       int    `json:"status"`
	Code         string `json:"code"`
	RetryAfter   string `json:"retry_after"`
	Milliseconds int    `json:"milliseconds"`
}

// NewFront listens and serves.
func NewFront(emulator *Emulator, account *Account, listen string) (*Front, error) {
	// One connection of HTTP/1.1 at a time each, as Azure's: no HTTP/2 is offered.
	listener, err := tls.Listen("tcp", listen, &tls.Config{Certificates: []tls.Certificate{emulator.Certificate},
		MinVersion: tls.VersionTLS12})
	if err != nil {
		return nil, err
	}
	front := &Front{emulator: emulator, account: account, listener: listener, counts: map[string]int{}, sizes: map[string]int64{},
		client: &http.Client{Timeout: 2 * time.Minute, Transport: &http.Transport{MaxIdleConnsPerHost: 64,
			IdleConnTimeout: time.Second, TLSClientConfig: &tls.Config{RootCAs: emulator.Roots}}}}
	go http.Serve(listener, front)
	return front, nil
}

// Address is host:port.
func (front *Front) Address() string { return front.listener.Addr().String() }

func (front *Front) ServeHTTP(writer http.ResponseWriter, request *http.Request) {
	body, err := contentOf(request)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	if request.URL.Path == "/control" {
		front.control(writer, body)
		return
	}
	fault := front.note(request)
	switch fault.Kind {
	case "status":
		refuse(writer, fault.Status, fault.Code, "as it was told to", fault.RetryAfter)
		return
	case "cut_before":
		panic(http.ErrAbortHandler)
	case "hold":
		late := request.Clone(context.Background())
		front.mutex.Lock()
		front.held = append(front.held, func() { front.forward(late, body) })
		front.mutex.Unlock()
		panic(http.ErrAbortHandler)
	case "slow":
		time.Sleep(time.Duration(fault.Milliseconds) * time.Millisecond)
	case "take_lease":
		front.takeLease(request.URL.EscapedPath())
	case "corrupt":
		if len(body) > 0 {
			body[len(body)/2] ^= 0x40
		}
	}
	if status, code, words := front.check(request, body); status != 0 {
		refuse(writer, status, code, words, "")
		return
	}
	reply, content, err := front.forward(request, body)
	if err != nil {
		refuse(writer, http.StatusInternalServerError, "InternalError", "the emulator: "+err.Error(), "")
		return
	}
	front.learn(request, reply)
	if fault.Kind == "cut_after" {
		panic(http.ErrAbortHandler)
	}
	if fault.Kind == "late_status" {
		refuse(writer, fault.Status, fault.Code, "as it was told to, having done it", fault.RetryAfter)
		return
	}
	content = front.paged(request, reply, content)
	for name, values := range reply.Header {
		writer.Header()[name] = values
	}
	if request.Method != http.MethodHead {
		writer.Header().Set("Content-Length", strconv.Itoa(len(content)))
	}
	writer.WriteHeader(reply.StatusCode)
	writer.Write(content)
}

// In one piece of memory where the request says how much it is.
func contentOf(request *http.Request) ([]byte, error) {
	if request.ContentLength < 0 || request.ContentLength > 2*putBytesMax {
		return io.ReadAll(request.Body)
	}
	body := make([]byte, request.ContentLength)
	_, err := io.ReadFull(request.Body, body)
	return body, err
}

// Counts the request and takes the fault that is for it.
func (front *Front) note(request *http.Request) Fault {
	front.mutex.Lock()
	defer front.mutex.Unlock()
	comp := request.URL.Query().Get("comp")
	name := request.Method
	if comp != "" {
		name += " " + comp
	}
	front.counts[name]++
	for _, fault := range front.faults {
		matches := (fault.Method == "" || fault.Method == request.Method) &&
			(fault.Comp == "" || fault.Comp == comp || fault.Comp == "-" && comp == "")
		if !matches || fault.Count == 0 {
			continue
		}
		if fault.Skip > 0 {
			fault.Skip--
			return Fault{}
		}
		fault.Count--
		return *fault
	}
	return Fault{}
}

// As it came, so that what is signed stays so; but without the checksum that the emulator does not know.
func (front *Front) forward(request *http.Request, body []byte) (*http.Response, []byte, error) {
	onward, err := http.NewRequest(request.Method, "https://"+front.emulator.Address+request.URL.RequestURI(), bytes.NewReader(body))
	if err != nil {
		return nil, nil, err
	}
	onward.Header = request.Header.Clone()
	onward.ContentLength = int64(len(body))
	if len(body) == 0 {
		onward.Body = http.NoBody
	}
	if onward.Header.Get(crc64Header) != "" {
		onward.Header.Del(crc64Header)
		if strings.HasPrefix(onward.Header.Get("Authorization"), "SharedKey ") {
			onward.Header.Set("Authorization", front.account.authorization(onward))
		}
	}
	return front.do(onward)
}

func (front *Front) do(request *http.Request) (*http.Response, []byte, error) {
	reply, err := front.client.Do(request)
	if err != nil {
		return nil, nil, err
	}
	defer reply.Body.Close()
	content, err := io.ReadAll(reply.Body)
	return reply, content, err
}

// A request of the front's own.
func (front *Front) ask(method, path string, headers map[string]string) (*http.Response, error) {
	request, err := http.NewRequest(method, "https://"+front.emulator.Address+path, http.NoBody)
	if err != nil {
		return nil, err
	}
	for name, value := range headers {
		request.Header.Set(name, value)
	}
	front.account.Sign(request)
	reply, content, err := front.do(request)
	if err == nil && reply.StatusCode >= 300 {
		return reply, fmt.Errorf("%s %s: %s %s", method, path, reply.Status, content)
	}
	return reply, err
}

// What it answers, which is only asked for.
func (front *Front) askFor(method, path string) ([]byte, error) {
	request, err := http.NewRequest(method, "https://"+front.emulator.Address+path, http.NoBody)
	if err != nil {
		return nil, err
	}
	front.account.Sign(request)
	_, content, err := front.do(request)
	return content, err
}

// MakeContainer makes one, unless it is there.
func (front *Front) MakeContainer(name string) error {
	reply, err := front.ask(http.MethodPut, "/"+front.account.Name+"/"+name+"?restype=container", nil)
	if reply != nil && reply.StatusCode == http.StatusConflict {
		return nil
	}
	return err
}

const anotherLease = "0badc0de-0000-4000-8000-000000000001"

func (front *Front) takeLease(path string) {
	front.ask(http.MethodPut, path+"?comp=lease", map[string]string{"x-ms-lease-action": "break", "x-ms-lease-break-period": "0"})
	front.ask(http.MethodPut, path+"?comp=lease", map[string]string{"x-ms-lease-action": "acquire", "x-ms-lease-duration": "-1",
		"x-ms-proposed-lease-id": anotherLease})
}

// POST /control: {"faults": [...], "ranges_max": N, "release": true}; what is named replaces what was. The reply has the counts since the last one
// that named faults.
func (front *Front) control(writer http.ResponseWriter, body []byte) {
	var order struct {
		Faults    *[]*Fault `json:"faults"`
		RangesMax *int      `json:"ranges_max"`
		Release   bool      `json:"release"`
	}
	if err := json.Unmarshal(body, &order); err != nil {
		http.Error(writer, err.Error(), http.StatusBadRequest)
		return
	}
	if order.Release {
		front.mutex.Lock()
		held := front.held
		front.held = nil
		front.mutex.Unlock()
		for _, arrive := range held {
			arrive()
		}
	}
	front.mutex.Lock()
	defer front.mutex.Unlock()
	if order.Faults != nil {
		for _, fault := range *order.Faults {
			if !known[fault.Kind] {
				http.Error(writer, "no fault "+fault.Kind, http.StatusBadRequest)
				return
			}
		}
		front.faults, front.counts = *order.Faults, map[string]int{}
	}
	if order.RangesMax != nil {
		front.rangesMax = *order.RangesMax
	}
	text, _ := json.Marshal(front.counts)
	writer.Write(text)
}

var known = map[string]bool{"status": true, "cut_before": true, "cut_after": true, "late_status": true, "take_lease": true,
	"corrupt": true, "hold": true, "slow": true}

func refuse(writer http.ResponseWriter, status int, code, words, retryAfter string) {
	writer.Header().Set("Content-Type", "application/xml")
	writer.Header().Set("x-ms-error-code", code)
	writer.Header().Set("x-ms-request-id", "front-"+strconv.FormatInt(time.Now().UnixNano(), 36))
	if retryAfter != "" {
		writer.Header().Set("Retry-After", retryAfter)
	}
	writer.WriteHeader(status)
	fmt.Fprintf(writer, "<?xml version=\"1.0\" encoding=\"utf-8\"?><Error><Code>%s</Code><Message>%s</Message></Error>", code, words)
}
