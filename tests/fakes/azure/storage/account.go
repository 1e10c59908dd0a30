package main

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/http"
	"sort"
	"strconv"
	"strings"
	"time"
)

const apiVersion = "2021-12-02"

// Account signs what the front itself asks of the emulator.
type Account struct {
	Name string
	key  []byte
}

// NewAccount makes a key where none is given.
func NewAccount(name, key string) (*Account, error) {
	account := &Account{Name: name, key: make([]byte, 64)}
	if key == "" {
		_, err := rand.Read(account.key)
		return account, err
	}
	var err error
	if account.key, err = base64.StdEncoding.DecodeString(key); err != nil {
		return nil, fmt.Errorf("--key is not base64: %w", err)
	}
	return account, nil
}

// Key is in base64, as Azure shows it.
func (account *Account) Key() string { return base64.StdEncoding.EncodeToString(account.key) }

// Sign adds date, version and the Authorization of a shared key.
func (account *Account) Sign(request *http.Request) {
	request.Header.Set("x-ms-date", time.Now().UTC().Format(http.TimeFormat))
	request.Header.Set("x-ms-version", apiVersion)
	request.Header.Set("Authorization", account.authorization(request))
}

// Of the request as it is.
func (account *Account) authorization(request *http.Request) string {
	length := ""
	if request.ContentLength > 0 {
		length = strconv.FormatInt(request.ContentLength, 10)
	}
	header := request.Header.Get
	lines := []string{request.Method, header("Content-Encoding"), header("Content-Language"), length, header("Content-MD5"),
		header("Content-Type"), "", header("If-Modified-Since"), header("If-Match"), header("If-None-Match"),
		header("If-Unmodified-Since"), header("Range")}
	own := []string{}
	for name := range request.Header {
		if lower := strings.ToLower(name); strings.HasPrefix(lower, "x-ms-") {
			own = append(own, lower+":"+header(name))
		}
	}
	sort.Strings(own)
	lines = append(lines, own...)
	lines = append(lines, "/"+account.Name+request.URL.EscapedPath())
	query := []string{}
	for name, values := range request.URL.Query() {
		query = append(query, strings.ToLower(name)+":"+strings.Join(values, ","))
	}
	sort.Strings(query)
	lines = append(lines, query...)
	digest := hmac.New(sha256.New, account.key)
	digest.Write([]byte(strings.Join(lines, "\n")))
	return "SharedKey " + account.Name + ":" + base64.StdEncoding.EncodeToString(digest.Sum(nil))
}
