package check

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/grafana/grafana-foundation-sdk/go/cog"
	"github.com/grafana/grafana-foundation-sdk/go/cog/variants"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
	"github.com/grafana/grafana-foundation-sdk/go/prometheus"
	"github.com/grafana/grafana-foundation-sdk/go/stat"
	"github.com/grafana/grafana-foundation-sdk/go/timeseries"
)

// panels are the types of the panels that are used. Of any other type options would
// be taken as they are.
var panels = map[string]variants.PanelcfgConfig{"stat": stat.VariantConfig(), "timeseries": timeseries.VariantConfig()}

func TestMain(m *testing.M) {
	known := cog.NewRuntime()
	for _, panel := range panels {
		known.RegisterPanelcfgVariant(panel)
	}
	known.RegisterDataqueryVariant(prometheus.VariantConfig())
	os.Exit(m.Run())
}

// strict decodes a dashboard as Grafana has it, and returns its queries: a field that
// Grafana does not know, or one that it wants and that is not there, is an error.
func strict(text []byte) (queries []prometheus.Dataquery, err error) {
	var raw struct {
		Panels []struct {
			Type, Title string
			FieldConfig json.RawMessage
			Targets     []json.RawMessage
		}
	}
	var board dashboard.Dashboard
	err = errors.Join(said(board.UnmarshalJSONStrict(text)), said(board.Validate()), json.Unmarshal(text, &raw))
	for _, panel := range raw.Panels {
		if _, known := panels[panel.Type]; !known && panel.Type != "row" {
			err = errors.Join(err, fmt.Errorf("%s: no type is known for a panel %s", panel.Title, panel.Type))
		}
		// The decoder is not strict with these.
		err = errors.Join(err, said(new(dashboard.FieldConfigSource).UnmarshalJSONStrict(panel.FieldConfig)))
		for _, target := range panel.Targets {
			var query prometheus.Dataquery
			err = errors.Join(err, said(query.UnmarshalJSONStrict(target)), said(query.Validate()))
			queries = append(queries, query)
		}
	}
	return queries, err
}

// said is an error, if it holds any: of none the decoder makes an empty list.
func said(err error) error {
	if list, ok := errors.AsType[cog.BuildErrors](err); ok && len(list) == 0 {
		return nil
	}
	return err
}

func shipped(t *testing.T) []byte {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "dashboards", "telecodex.json"))
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestTheDashboardIsWhatGrafanaKnows(t *testing.T) {
	queries, err := strict(shipped(t))
	if err != nil {
		t.Fatal(err)
	}
	for i, query := range queries {
		if query.Expr == "" {
			t.Errorf("query %d asks nothing", i)
		}
	}
	if len(queries) < 25 {
		t.Errorf("%d queries", len(queries))
	}
}

// The check sees what a slip of the pen makes of a dashboard.
func TestSlipsAreSeen(t *testing.T) {
	text := shipped(t)
	for was, slip := range map[string]string{
		`"refresh":`:            `"refersh":`,
		`"gridPos":`:            `"gridpos":`,
		`"expr":`:               `"query":`,
		`"legendFormat":`:       `"legend":`,
		`"colorMode":`:          `"colourMode":`,
		`"placement": "bottom"`: `"placement": 3`,
		`"mode": "absolute"`:    `"mode": {}`,
		`"graphMode": "area",`:  ``,
		`"schemaVersion": 39`:   `"schemaVersion": "39"`,
		`"type": "stat"`:        `"type": "singlestat"`,
		`"steps": [`:            `"step": [`,
		`"type": "datasource",`: ``,
		`"displayMode": "list"`: `"displaymode": "list"`,
		`"reduceOptions"`:       `"reduceoptions"`,
	} {
		if !bytes.Contains(text, []byte(was)) {
			t.Errorf("the dashboard has no %s", was)
			continue
		}
		if _, err := strict(bytes.Replace(text, []byte(was), []byte(slip), 1)); err == nil {
			t.Errorf("%s in place of %s is not seen", slip, was)
		}
	}
}
