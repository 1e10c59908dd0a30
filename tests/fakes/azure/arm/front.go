package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"
)

// versions are what a client of ours, the SDKs and the command line that tests use send: a real provider takes many more.
var versions = map[string][]string{
	"Microsoft.Compute/virtualMachines":   {"2024-07-01", "2026-03-01", "2020-06-01"},
	"Microsoft.Compute/locations":         {"2024-07-01", "2026-03-01", "2020-06-01"},
	"Microsoft.Compute/disks":             {"2024-03-02", "2025-01-02", "2019-07-01"},
	"Microsoft.Network/networkInterfaces": {"2024-05-01", "2026-01-01", "2022-07-01"},
	"Microsoft.Network/virtualNetworks":   {"2024-05-01", "2026-01-01", "2022-07-01"},
	"Microsoft.Resources/resourceGroups":  {"2021-04-01"},
	"Microsoft.Resources/resources":       {"2021-04-01"},
	"Microsoft.Storage/storageAccounts":   {"2023-05-01"},
	"Microsoft.Resources/subscriptions":   {"2016-06-01"},
}

// Front is what clients connect to.
type Front struct {
	site             *Site
	listener         net.Listener
	metadataListener net.Listener
	server           *http.Server
	metadataServer   *http.Server

	mutex  sync.Mutex
	faults []*Rule
	calls  map[string]int
	reads  int // that remain, as x-ms-ratelimit-remaining-subscription-reads says
}

// Request is what of an HTTP request the handlers need.
type Request struct {
	http     *http.Request
	id       ID
	body     Object
	version  string
	planned  *Failure // that its operation ends with
	argument string
}

// NewFront listens. Its certificate is kept, so that who trusts it does so after a restart.
func NewFront(site *Site) (*Front, error) {
	f := &Front{site: site, calls: map[string]int{}, reads: 11999}
	certificate, err := f.certificate()
	if err != nil {
		return nil, err
	}
	if err := f.trustSelf(); err != nil {
		return nil, err
	}
	if f.listener, err = net.Listen("tcp", site.flags.Listen); err != nil {
		return nil, err
	}
	if f.metadataListener, err = net.Listen("tcp", site.flags.ListenMetadata); err != nil {
		return nil, err
	}
	f.server = &http.Server{Handler: f, TLSConfig: &tls.Config{Certificates: []tls.Certificate{certificate}},
		TLSNextProto: map[string]func(*http.Server, *tls.Conn, http.Handler){}} // HTTP/1.1, whose connections can be dropped
	f.metadataServer = &http.Server{Handler: http.HandlerFunc(f.metadata)}
	go func() { _ = f.server.ServeTLS(f.listener, "", "") }()
	go func() { _ = f.metadataServer.Serve(f.metadataListener) }()
	return f, nil
}

// URL is the endpoint.
func (f *Front) URL() string { return "https://" + f.listener.Addr().String() }

// MetadataURL is that of the instance metadata service.
func (f *Front) MetadataURL() string { return "http://" + f.metadataListener.Addr().String() }

// CAFile is what to trust.
func (f *Front) CAFile() string { return filepath.Join(f.site.flags.State, "ca.pem") }

// Close ends connections.
func (f *Front) Close() {
	_ = f.server.Close()
	_ = f.metadataServer.Close()
}

func (f *Front) certificate() (tls.Certificate, error) {
	keyFile := filepath.Join(f.site.flags.State, "key.pem")
	pair, err := tls.LoadX509KeyPair(f.CAFile(), keyFile)
	if err == nil || !errors.Is(err, os.ErrNotExist) {
		return pair, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return pair, err
	}
	host, _, _ := net.SplitHostPort(f.site.flags.Listen)
	template := x509.Certificate{SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: "management.azure.lab"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour * 365), IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, DNSNames: []string{"localhost", "management.azure.lab", "login.azure.lab"},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	if address := net.ParseIP(host); address != nil {
		template.IPAddresses = append(template.IPAddresses, address)
	}
	der, err := x509.CreateCertificate(rand.Reader, &template, &template, &key.PublicKey, key)
	if err != nil {
		return pair, err
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return pair, err
	}
	if err := os.WriteFile(keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}), 0o600); err != nil {
		return pair, err
	}
	if err := os.WriteFile(f.CAFile(), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o644); err != nil {
		return pair, err
	}
	return tls.LoadX509KeyPair(f.CAFile(), keyFile)
}

// trustSelf lets imports read what is at /_blobs.
func (f *Front) trustSelf() error {
	text, err := os.ReadFile(f.CAFile())
	if err == nil {
		f.site.blobs.trust(text)
	}
	return err
}

func (f *Front) reply(w http.ResponseWriter, status int, body any) {
	text, _ := json.Marshal(body)
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write(text)
}

func (f *Front) fail(w http.ResponseWriter, failure *Failure) {
	f.reply(w, failure.HTTP, Object{"error": failure.body()})
}

func (f *Front) count(what string) {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	f.calls[what]++
}

// kindOf is what a path is about, as the counters have it.
func kindOf(path string) string {
	switch {
	case strings.HasSuffix(path, "/oauth2/v2.0/token") || path == adfsToken:
		return "token"
	case strings.HasSuffix(path, openidSuffix):
		return "openid-configuration"
	case strings.Contains(path, "/operations/") || strings.Contains(path, "/operationResults/"):
		return "operation"
	case strings.HasSuffix(path, "/vmSizes"):
		return "vmSizes"
	case strings.HasSuffix(path, "/resources"):
		return "resources"
	}
	id, is := parseID(path)
	if !is {
		return "resourceGroups"
	}
	if len(id.Rest) > 0 {
		return id.Type + "/" + id.Rest[0]
	}
	return id.Type
}

// servePages says that all of a file's pages have content.
func servePages(w http.ResponseWriter, path string) {
	if file, err := os.Stat(path); err != nil {
		w.WriteHeader(http.StatusNotFound)
	} else {
		fmt.Fprintf(w, "<PageList><PageRange><Start>0</Start><End>%d</End></PageRange></PageList>", file.Size()-1)
	}
}

// ServeHTTP is a request, with the faults that it meets.
func (f *Front) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/control" {
		f.control(w, r)
		return
	}
	if strings.HasPrefix(r.URL.Path, "/_blobs/") && f.site.flags.Blobs != "" {
		w.Header().Set("x-ms-blob-type", "PageBlob")
		if part := r.Header.Get("x-ms-range"); part != "" {
			r.Header.Set("Range", part)
		}
		file := filepath.Join(f.site.flags.Blobs, filepath.Base(r.URL.Path))
		if r.URL.Query().Get("comp") == "pagelist" {
			servePages(w, file)
		} else {
			http.ServeFile(w, r, file)
		}
		return
	}
	if strings.HasPrefix(r.URL.Path, "/_access/") {
		f.serveContent(w, r)
		return
	}
	w.Header().Set("x-ms-request-id", makeUUID())
	w.Header().Set("x-ms-correlation-request-id", makeUUID())
	f.count(r.Method + " " + kindOf(r.URL.Path))
	f.mutex.Lock()
	if f.reads > 0 {
		f.reads--
	}
	w.Header().Set("x-ms-ratelimit-remaining-subscription-reads", strconv.Itoa(f.reads))
	f.mutex.Unlock()
	rule := f.take(r.Method, r.URL.Path)
	if rule == nil {
		f.serve(w, r, nil)
		return
	}
	time.Sleep(time.Duration(rule.DelayMS) * time.Millisecond)
	switch {
	case rule.Drop == "request":
		drop(w)
	case rule.Drop == "reply":
		f.serve(&discarded{header: http.Header{}}, r, rule.Operation)
		time.Sleep(time.Duration(rule.HangMS) * time.Millisecond)
		drop(w)
	case rule.Status != 0:
		if rule.RetryAfter != nil {
			w.Header().Set("Retry-After", strconv.Itoa(*rule.RetryAfter))
		}
		if rule.Body != "" {
			w.WriteHeader(rule.Status)
			_, _ = io.WriteString(w, rule.Body)
			return
		}
		f.fail(w, &Failure{HTTP: rule.Status, Code: rule.Code, Message: rule.Message})
	default:
		f.serve(w, r, rule.Operation)
	}
}

type discarded struct{ header http.Header }

func (d *discarded) Header() http.Header            { return d.header }
func (d *discarded) Write(body []byte) (int, error) { return len(body), nil }
func (d *discarded) WriteHeader(int)                {}

func drop(w http.ResponseWriter) {
	if hijacker, can := w.(http.Hijacker); can {
		if connection, _, err := hijacker.Hijack(); err == nil {
			_ = connection.Close()
		}
	}
}

func (f *Front) checkVersion(kind string, version string) *Failure {
	if version == "" {
		return fail(http.StatusBadRequest, "MissingApiVersionParameter", "The api-version query parameter (?api-version=) is required for all requests.")
	}
	for _, known := range versions[kind] {
		if known == version {
			return nil
		}
	}
	return fail(http.StatusBadRequest, "NoRegisteredProviderFound",
		"No registered resource provider found for location '%s' and API version '%s' for type '%s'. The supported api-versions are '%s'.",
		f.site.config.Region, version, kind, strings.Join(versions[kind], ", "))
}

func (f *Front) serve(w http.ResponseWriter, r *http.Request, planned *Failure) {
	if f.identity(w, r) {
		return
	}
	path := strings.Trim(r.URL.Path, "/")
	parts := strings.Split(path, "/")
	config := &f.site.config
	audience := "https://management.azure.com/"
	if failure := f.site.authorized(r, audience); failure != nil {
		w.Header().Set("WWW-Authenticate", `Bearer authorization_uri="`+f.URL()+"/"+config.Tenant+`", error="invalid_token"`)
		f.fail(w, failure)
		return
	}
	if !strings.EqualFold(parts[0], "subscriptions") {
		f.fail(w, fail(http.StatusNotFound, "NotFound", "No route for '%s'.", r.URL.Path))
		return
	}
	if len(parts) > 1 && !strings.EqualFold(parts[1], config.Subscription) {
		f.fail(w, fail(http.StatusNotFound, "SubscriptionNotFound", "The subscription '%s' could not be found.", parts[1]))
		return
	}
	version := r.URL.Query().Get("api-version")
	if f.subscription(w, parts, r, version) {
		return
	}
	id, is := parseID(path)
	if !is || len(versions[id.Provider+"/"+id.Type]) == 0 {
		f.fail(w, fail(http.StatusNotFound, "InvalidResourceType", "The resource type of '%s' could not be found.", r.URL.Path))
		return
	}
	if failure := f.checkVersion(id.Provider+"/"+id.Type, version); failure != nil {
		f.fail(w, failure)
		return
	}
	q := &Request{http: r, id: id, version: version, planned: planned}
	text, err := io.ReadAll(io.LimitReader(r.Body, 4<<20))
	if err != nil {
		return
	}
	if len(text) > 0 {
		if err := json.Unmarshal(text, &q.body); err != nil {
			f.fail(w, fail(http.StatusBadRequest, "InvalidRequestContent", "The request content was invalid and could not be deserialized: '%v'.", err))
			return
		}
	}
	f.resource(w, q)
}

func (f *Front) resource(w http.ResponseWriter, q *Request) {
	var failure *Failure
	switch {
	case q.id.Name == "":
		f.list(w, q)
	case q.id.Type == "virtualNetworks":
		failure = f.network(w, q)
	case q.id.Type == "storageAccounts":
		failure = f.storageAccount(w, q)
	case q.id.Type == "virtualMachines":
		failure = f.vm(w, q)
	case q.id.Type == "disks":
		failure = f.disk(w, q)
	case q.id.Type == "networkInterfaces":
		failure = f.networkInterface(w, q)
	}
	if failure != nil {
		f.fail(w, failure)
	}
}

// list is in pages, with nextLink.
func (f *Front) list(w http.ResponseWriter, q *Request) {
	if q.http.Method != http.MethodGet {
		f.fail(w, fail(http.StatusMethodNotAllowed, "MethodNotAllowed", "The method is not allowed."))
		return
	}
	var all []Object
	for _, each := range f.site.list(q.id.Type, q.id.Group) {
		f.site.mutex.Lock()
		all = append(all, f.site.render(each))
		f.site.mutex.Unlock()
	}
	f.page(w, q.http, all)
}

// page is one of a list, with the link to the next.
func (f *Front) page(w http.ResponseWriter, r *http.Request, all []Object) {
	query := r.URL.Query()
	skip, _ := strconv.Atoi(query.Get("$skiptoken"))
	f.site.mutex.Lock()
	size := f.site.config.PageSize
	f.site.mutex.Unlock()
	values := []Object{}
	for i := skip; i < len(all) && len(values) < size; i++ {
		values = append(values, all[i])
	}
	out := Object{"value": values}
	if end := skip + len(values); end < len(all) {
		query.Set("$skiptoken", strconv.Itoa(end))
		out["nextLink"] = f.URL() + r.URL.EscapedPath() + "?" + query.Encode()
	}
	f.reply(w, http.StatusOK, out)
}

var tagFilter = regexp.MustCompile(`^tagName eq '([^']*)' and tagValue eq '([^']*)'$`)

// tagged lists resources of all types with a tag: what they are is told, and none of their properties.
func (f *Front) tagged(w http.ResponseWriter, r *http.Request, version string) {
	if failure := f.checkVersion("Microsoft.Resources/resources", version); failure != nil {
		f.fail(w, failure)
		return
	}
	wanted := tagFilter.FindStringSubmatch(r.URL.Query().Get("$filter"))
	if wanted == nil {
		f.fail(w, fail(http.StatusBadRequest, "InvalidFilterInQueryString", "This simulation filters by a tag only: tagName eq 'N' and tagValue eq 'V'."))
		return
	}
	var all []Object
	for _, kind := range []string{"virtualMachines", "disks", "networkInterfaces"} {
		for _, each := range f.site.list(kind, "") {
			f.site.mutex.Lock()
			if textAt(each.Tags, wanted[1]) == wanted[2] {
				out := f.site.render(each)
				delete(out, "properties")
				all = append(all, out)
			}
			f.site.mutex.Unlock()
		}
	}
	f.page(w, r, all)
}
