// What a program does with the Go client of openapi-generator: `client URL TOKEN`.
package main

import (
	"context"
	"errors"
	"fmt"
	"math/big"
	"os"

	"cidrgate.test/client/openapi"
)

const account = "go"

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func expect[Value comparable](what string, got, expected Value) {
	if got != expected {
		panic(fmt.Sprintf("%s: got %v, expected %v", what, got, expected))
	}
}

// The problem of an answer that is an error.
func problem(err error) openapi.Problem {
	var answered *openapi.GenericOpenAPIError
	if !errors.As(err, &answered) {
		panic(fmt.Sprintf("no answer of the service: %v", err))
	}
	found, ok := answered.Model().(openapi.Problem)
	if !ok {
		panic(fmt.Sprintf("not a problem: %s", answered.Body()))
	}
	return found
}

func main() {
	configuration := openapi.NewConfiguration()
	configuration.Servers = openapi.ServerConfigurations{{URL: os.Args[1]}}
	client := openapi.NewAPIClient(configuration)
	ctx := context.WithValue(context.Background(), openapi.ContextAccessToken, os.Args[2])

	created, _, err := client.AccountsAPI.CreateAccount(ctx).AccountCreate(*openapi.NewAccountCreate(account)).Execute()
	must(err)
	expect("entries of a new account", created.EntryCount, 0)

	office := openapi.NewEntryCreate("8.8.8.0/24")
	office.SetLabel("office")
	body := openapi.NewEntriesCreate()
	body.SetEntries([]openapi.EntryCreate{*office, *openapi.NewEntryCreate("2606:4700::/32")})
	_, _, err = client.EntriesAPI.AddEntries(ctx, account).EntriesCreate(*body).Execute()
	expect("code of a guard", problem(err).Code, "would_lock_out_caller")
	confirm := []openapi.Guard{openapi.Guard(problem(err).Confirm[0])}
	added, _, err := client.EntriesAPI.AddEntries(ctx, account).EntriesCreate(*body).Confirm(confirm).Execute()
	must(err)
	expect("entries after adding", added.EntryCount, 2)

	page, _, err := client.EntriesAPI.ListEntries(ctx, account).Execute()
	must(err)
	expect("listed", len(page.Items), 2)
	expect("label", page.Items[0].GetLabel(), "office")
	count, ok := new(big.Int).SetString(page.Items[1].AddressCount, 10)
	expect("an address count is a number", ok, true)
	expect("addresses of a /32", count.Cmp(new(big.Int).Lsh(big.NewInt(1), 96)), 0)

	edit := openapi.NewEntryPatchWithDefaults()
	edit.SetLabel("head office")
	edited, _, err := client.EntriesAPI.EditEntry(ctx, account, page.Items[0].Id).EntryPatch(*edit).Execute()
	must(err)
	expect("network after editing", edited.After[0].Cidr, "8.8.8.0/24")
	expect("label after editing", edited.After[0].GetLabel(), "head office")
	edit.SetLabelNil()
	edited, _, err = client.EntriesAPI.EditEntry(ctx, account, page.Items[0].Id).EntryPatch(*edit).IfMatch(edited.Etag).Execute()
	must(err)
	expect("a removed label", edited.After[0].Label.IsSet() && edited.After[0].Label.Get() == nil, true)

	pasted := openapi.NewEntriesCreate()
	pasted.SetCidrs("1.1.1.0/24, 8.8.8.8")
	_, _, err = client.EntriesAPI.AddEntries(ctx, account).EntriesCreate(*pasted).Execute()
	refused := problem(err)
	expect("code of a refused submission", refused.Code, "rules_broken")
	expect("errors", len(refused.Errors), 1)
	expect("code of the error", refused.Errors[0].Code, "invalid_format")
	expect("position", refused.Errors[0].GetPosition(), 1)

	for address, allowed := range map[string]bool{"8.8.8.8": true, "2606:4700::1": true, "1.1.1.1": false} {
		check, _, err := client.QuestionsAPI.CheckAddress(ctx, account).Address(address).Execute()
		must(err)
		expect(address, check.Allowed, allowed)
	}

	_, _, err = client.AccountsAPI.GetAccount(ctx, "nobody").Execute()
	expect("code of an unknown account", problem(err).Code, "account_not_found")
}
