// What a shipped dashboard must be, in the words of @grafana/schema.
//
// Grafana's own `Dashboard` leaves a panel's options, its field configuration and its queries open, since any plugin may
// bring its own: a misspelt option is no mistake to it. Here each panel has the types of its plugin, and a property that
// they do not have is a mistake. Properties that the types want and a dashboard could leave to Grafana's defaults have to
// be written, as they are when Grafana exports a dashboard.

import type {
  AnnotationQuery,
  Dashboard,
  DataQuery,
  DataSourceRef,
  FieldConfig,
  FieldConfigSource,
  Panel,
  RowPanel,
  VariableModel,
} from '@grafana/schema';
import type * as BarGauge from '@grafana/schema/dist/esm/raw/composable/bargauge/panelcfg/x/BarGaugePanelCfg_types.gen';
import type * as Stat from '@grafana/schema/dist/esm/raw/composable/stat/panelcfg/x/StatPanelCfg_types.gen';
import type * as StateTimeline from '@grafana/schema/dist/esm/raw/composable/statetimeline/panelcfg/x/StateTimelinePanelCfg_types.gen';
import type * as Table from '@grafana/schema/dist/esm/raw/composable/table/panelcfg/x/TablePanelCfg_types.gen';
import type * as TimeSeries from '@grafana/schema/dist/esm/raw/composable/timeseries/panelcfg/x/TimeSeriesPanelCfg_types.gen';

/** A type of the schema as JSON has it: the members of an enum are there as what they stand for. */
type Json<T> = 0 extends 1 & T
  ? T // `any`
  : T extends string
    ? `${T}`
    : T extends number
      ? `${T}` extends `${infer Value extends number}`
        ? Value
        : never
      : T extends object
        ? { [Key in keyof T]: Json<T[Key]> }
        : T;

/** The one data source of a dashboard: the variable, so that it fits wherever it is imported or provisioned. */
type OwnSource = { type: 'prometheus'; uid: '${datasource}' };
/** What Grafana keeps about dashboards itself. */
type Grafana = { type: 'grafana'; uid: '-- Grafana --' };

/** A query of the Prometheus plugin, which the schema has no type for. */
type Query = Omit<DataQuery, 'datasource'> & {
  datasource: OwnSource & DataSourceRef;
  editorMode: 'code';
  expr: string;
  legendFormat?: string;
} & ({ range: true; format: 'time_series' } | { instant: true; format: 'time_series' | 'table' });

/** Properties of a field that an override sets; those of the panel's plugin have `custom.` in front. */
type Property<Custom> =
  | { [Key in Exclude<keyof FieldConfig, 'custom'>]-?: { id: Key; value: NonNullable<FieldConfig[Key]> } }[Exclude<
      keyof FieldConfig,
      'custom'
    >]
  | { [Key in keyof Custom & string]-?: { id: `custom.${Key}`; value: NonNullable<Custom[Key]> } }[keyof Custom & string];

type Link = { title: string; url: string; targetBlank?: boolean };

type Override<Custom> = {
  matcher: { id: 'byName' | 'byRegexp' | 'byFrameRefID'; options: string };
  properties: Array<Property<Custom>>;
};

type Fields<Custom> = Omit<FieldConfigSource, 'defaults' | 'overrides'> & {
  defaults: Omit<FieldConfig, 'custom' | 'links'> & { custom?: Custom; links?: Link[] };
  overrides: Array<Override<Custom>>;
};

type Transformation =
  | { id: 'merge'; options: Record<string, never> }
  | {
      id: 'organize';
      options: {
        excludeByName: Record<string, boolean>;
        indexByName: Record<string, number>;
        renameByName: Record<string, string>;
      };
    }
  | {
      id: 'groupingToMatrix';
      options: { rowField: string; columnField: string; valueField: string; emptyValue: 'null' | 'empty' | 'zero' };
    };

/** A panel of one plugin. */
type Of<Type extends string, Options, Custom = Record<string, never>> = Omit<
  Panel,
  'type' | 'options' | 'fieldConfig' | 'targets' | 'datasource' | 'transformations'
> &
  Required<Pick<Panel, 'id' | 'title' | 'description' | 'gridPos'>> & {
    type: Type;
    datasource: OwnSource & DataSourceRef;
    targets: Query[];
    transformations?: Transformation[];
    fieldConfig: Fields<Custom>;
    options: Options;
  };

type AnyPanel =
  | Of<'bargauge', BarGauge.Options>
  | Of<'stat', Stat.Options>
  | Of<'state-timeline', StateTimeline.Options, StateTimeline.FieldConfig>
  | Of<'table', Table.Options, Table.FieldConfig>
  | Of<'timeseries', TimeSeries.Options, TimeSeries.FieldConfig>
  | (Omit<RowPanel, 'panels'> & { panels: [] });

type Variable =
  | (Omit<VariableModel, 'type' | 'datasource'> & { type: 'datasource'; query: 'prometheus' })
  | (Omit<VariableModel, 'type' | 'datasource' | 'query'> & {
      type: 'query';
      datasource: OwnSource & DataSourceRef;
      query: { query: string; refId: string };
      /** What Grafana's list of variables shows; the schema does not know it. */
      definition: string;
    });

/** `expr` and `step` are what Grafana before 11 reads instead of the target. */
type Annotation =
  | (Omit<AnnotationQuery, 'datasource' | 'target'> & { builtIn: 1; datasource: Grafana })
  | (Omit<AnnotationQuery, 'datasource' | 'target'> & {
      datasource: OwnSource & DataSourceRef;
      target: { refId: string; expr: string; interval: string };
      expr: string;
      step: string;
      titleFormat: string;
      textFormat: string;
      tagKeys: string;
    });

/** A dashboard as it stands in its file. */
export type Shipped = Json<
  Omit<Dashboard, 'panels' | 'templating' | 'annotations'> &
    Required<Pick<Dashboard, 'uid' | 'title' | 'tags'>> & {
      panels: AnyPanel[];
      templating: { list: Variable[] };
      annotations: { list: Annotation[] };
    }
>;

/** The same file as Grafana's own type, which is wider. */
export type Plain = Json<Dashboard>;
