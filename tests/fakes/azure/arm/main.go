// The simulated Azure Resource Manager, with its identity and its compute, that tests, demo and lab run against. See README.md
// for what it is like and what not.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	var flags Flags
	config := flag.String("config", "", "JSON file: identity, groups, networks, sizes (README.md)")
	flag.StringVar(&flags.State, "state", "", "directory of resources, disks and certificates; what is there goes on")
	flag.StringVar(&flags.Listen, "listen", "127.0.0.1:0", "address of ARM, of the token endpoint and of /control, over TLS")
	flag.StringVar(&flags.ListenMetadata, "listen-metadata", "127.0.0.1:0", "address of the instance metadata service, without TLS")
	flag.StringVar(&flags.OnPowerOn, "on-power-on", "", "command that is run when a VM is powered on")
	flag.StringVar(&flags.OnPowerOff, "on-power-off", "", "command that is run when a VM is powered off; off is when it has ended")
	flag.BoolVar(&flags.OffAtEnd, "off-at-end", false, "power off every VM when this is ended")
	flag.StringVar(&flags.StorageSas, "storage-sas", "", "query that blobs are read with")
	flag.StringVar(&flags.StorageKey, "storage-key", "", "key of the account (base64) that blobs are read with")
	flag.StringVar(&flags.StorageAccount, "storage-account", "", "its name; empty: the first label of the blob's host")
	flag.StringVar(&flags.StorageCA, "storage-ca", "", "file with CAs (PEM) of the blobs' host")
	flag.StringVar(&flags.Blobs, "blobs", "", "directory whose files are page blobs, at ENDPOINT/_blobs/NAME")
	flag.Parse()
	if err := run(*config, flags); err != nil {
		fmt.Fprintln(os.Stderr, "azure-arm:", err)
		os.Exit(1)
	}
}

func run(path string, flags Flags) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	var config Config
	if err := json.Unmarshal(text, &config); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	config.fill()
	site, err := OpenSite(config, flags)
	if err != nil {
		return err
	}
	front, err := NewFront(site)
	if err != nil {
		return err
	}
	site.GoOn()
	ready, _ := json.Marshal(map[string]string{"endpoint": front.URL(), "metadata": front.MetadataURL(), "ca_file": front.CAFile()})
	fmt.Println(string(ready))
	end := make(chan os.Signal, 1)
	signal.Notify(end, syscall.SIGINT, syscall.SIGTERM)
	<-end
	front.Close()
	site.Close(30 * time.Second)
	return nil
}

// Flags are what the command line says.
type Flags struct {
	State, Listen, ListenMetadata                     string
	OnPowerOn, OnPowerOff                             string
	OffAtEnd                                          bool
	StorageSas, StorageKey, StorageAccount, StorageCA string
	Blobs                                             string
}

// Config is the file's shape.
type Config struct {
	Tenant          string    `json:"tenant_id"`
	Client          string    `json:"client_id"`
	Secret          string    `json:"client_secret"`
	CertificateFile string    `json:"certificate_file"` // PEM; of the application
	Subscription    string    `json:"subscription"`
	Region          string    `json:"region"`
	Groups          []string  `json:"groups"`
	Networks        []Network `json:"networks"`
	Accounts        []Account `json:"accounts"`
	Sizes           []Size    `json:"sizes"`
	TokenSeconds    int       `json:"token_seconds"`
	// How long an operation takes beside its work, and what Retry-After says: seconds, -1: none.
	OperationMS int `json:"operation_ms"`
	RetryAfter  int `json:"retry_after_s"`
	PageSize    int `json:"page_size"` // of lists
}

// Account is a storage account. Its blobs are somewhere else: Blob is their URL.
type Account struct {
	Group  string `json:"group"`
	Name   string `json:"name"`
	Region string `json:"region"` // empty: the site's
	Blob   string `json:"blob"`   // empty: as of Azure's public cloud
}

// Network is a virtual network.
type Network struct {
	Group    string   `json:"group"`
	Name     string   `json:"name"`
	Region   string   `json:"region"` // empty: the site's
	Prefixes []string `json:"prefixes"`
	Subnets  []struct {
		Name   string `json:"name"`
		Prefix string `json:"prefix"`
	} `json:"subnets"`
}

// Size is what a VM can be.
type Size struct {
	Name         string `json:"name"`
	Cores        int    `json:"cores"`
	MemoryMB     int    `json:"memory_mb"`
	DataDisksMax int    `json:"data_disks_max"`
}

func (c *Config) fill() {
	set := func(value *string, standard string) {
		if *value == "" {
			*value = standard
		}
	}
	set(&c.Tenant, "11111111-1111-1111-1111-111111111111")
	set(&c.Client, "22222222-2222-2222-2222-222222222222")
	set(&c.Secret, "secret")
	set(&c.Subscription, "33333333-3333-3333-3333-333333333333")
	set(&c.Region, "westeurope")
	if c.TokenSeconds == 0 {
		c.TokenSeconds = 3599
	}
	if c.PageSize == 0 {
		c.PageSize = 50
	}
	if len(c.Sizes) == 0 {
		c.Sizes = []Size{{"Standard_B1s", 1, 1024, 2}, {"Standard_D2s_v5", 2, 8192, 4}, {"Standard_D4s_v5", 4, 16384, 8}}
	}
}
